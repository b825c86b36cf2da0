# Flattens one JSON document to lines "path<TAB>value": {"a":{"b":[1]}} gives "a.b.0<TAB>1". Compact or pretty-printed.
# Strings are left as they were written: one with an escape in it keeps the backslash, and whoever checks it against
# the letters it may have refuses it. Status 1: not JSON, a key twice, or a key with a dot or a backslash.
{ text = text $0 "\n" }

END {
	size = length(text)
	at = 1
	value("", 0)
	blank()
	if (at <= size) bad()
	printf "%s", out
}

function bad() {
	failed = 1
	exit 1
}

function blank() {
	while (at <= size && index(" \t\n\r", substr(text, at, 1))) at++
}

function string(    from, c) {
	if (substr(text, at, 1) != "\"") bad()
	from = ++at
	while (at <= size) {
		c = substr(text, at, 1)
		if (c == "\n") bad()
		if (c == "\"") return substr(text, from, at++ - from)
		at += c == "\\" ? 2 : 1
	}
	bad()
}

function leaf(path, v) {
	if (path in seen) bad()
	seen[path] = 1
	out = out path "\t" v "\n"
}

function value(path, depth,    c, key, n) {
	if (depth > 32) bad()
	blank()
	c = substr(text, at, 1)
	if (c == "\"") {
		leaf(path, string())
	} else if (c == "{" || c == "[") {
		leaf(path, c)
		at++
		blank()
		if (substr(text, at, 1) == (c == "{" ? "}" : "]")) {
			at++
			return
		}
		for (n = 0;; n++) {
			key = n
			blank()
			if (c == "{") {
				key = string()
				if (key ~ /[.\\]/) bad()
				blank()
				if (substr(text, at++, 1) != ":") bad()
			}
			value(path == "" ? key : path "." key, depth + 1)
			blank()
			if (substr(text, at, 1) != ",") break
			at++
		}
		if (substr(text, at++, 1) != (c == "{" ? "}" : "]")) bad()
	} else if (match(substr(text, at, 40), /^(true|false|null|-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)/)) {
		n = RLENGTH
		leaf(path, substr(text, at, n))
		at += n
	} else {
		bad()
	}
}
