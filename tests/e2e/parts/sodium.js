// sodium.js FOLDER-OF-NODE-MODULES open KEYFILE SCOPE NAME <LINES >VALUE: senv-format(7) read with libsodium-wrappers.
// sodium.js FOLDER-OF-NODE-MODULES seal PUBLIC SCOPE NAME BYTES <VALUE >LINES: and written, each chunk sealed as GitHub
// documents it for secrets: crypto_box_seal to the key, all base64 of the ORIGINAL variant.
const fs = require('fs');
const [, , modules, what, keyText, scope, name, bytes] = process.argv;
const sodium = require(modules + '/libsodium-wrappers');
const zero = new Uint8Array(32);

function die(why) {
	console.error(why);
	process.exit(1);
}

function fromBase64(text) {
	return sodium.from_base64(text, sodium.base64_variants.ORIGINAL);
}

function hash(data) {
	return sodium.crypto_generichash(32, data);
}

function seal(value) {
	const pub = fromBase64(keyText.replace('senv-public-key-1:', ''));
	const size = Number(bytes), total = Math.max(1, Math.ceil(value.length / size)), id = sodium.randombytes_buf(16);
	for (let i = 0; i < total; i++) {
		const head = Buffer.alloc(104);
		head.write('senv\x01', 'latin1');
		head[5] = name.length;
		head.writeUInt32LE(i, 8);
		head.writeUInt32LE(total, 12);
		head.writeBigUInt64LE(BigInt(value.length), 16);
		head.set(id, 24);
		head.set(scope ? hash(scope) : zero, 40);
		head.set(hash(value), 72);
		const piece = value.subarray(i * size, (i + 1) * size);
		const box = sodium.crypto_box_seal(Buffer.concat([head, Buffer.from(name), piece]), pub);
		console.log(`SENV_${name}_${i}=${sodium.to_base64(box, sodium.base64_variants.ORIGINAL)}`);
	}
	console.log(`SENV_${name}_num=${total}`);
}

function open(lines) {
	const secret = fromBase64(fs.readFileSync(keyText, 'utf8').trim().replace('senv-secret-key-1:', ''));
	const pub = sodium.crypto_scalarmult_base(secret), pieces = [];
	let first = null;
	for (const line of lines.toString().split('\n')) {
		const at = line.indexOf('=');
		if (at < 0 || line.slice(0, at).endsWith('_num')) continue;
		const plain = Buffer.from(sodium.crypto_box_seal_open(fromBase64(line.slice(at + 1)), pub, secret));
		first = first || plain;
		if (plain.toString('latin1', 0, 5) !== 'senv\x01') die('no chunk');
		if (plain.toString('latin1', 104, 104 + plain[5]) !== name) die('another name');
		if (Buffer.compare(plain.subarray(40, 72), scope ? hash(scope) : zero)) die('another repository');
		if (Buffer.compare(plain.subarray(12, 104), first.subarray(12, 104))) die('another file');
		pieces[plain.readUInt32LE(8)] = plain.subarray(104 + plain[5]);
	}
	if (pieces.length !== first.readUInt32LE(12) || pieces.includes(undefined)) die('incomplete');
	const value = Buffer.concat(pieces);
	if (BigInt(value.length) !== first.readBigUInt64LE(16)) die('another length');
	if (Buffer.compare(hash(value), first.subarray(72, 104))) die('another hash');
	process.stdout.write(value);
}

sodium.ready.then(() => (what === 'seal' ? seal : open)(fs.readFileSync(0)));
