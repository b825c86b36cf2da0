"""memory.py SENV, in a folder with `key`, `secret`, `sealed`: while a command runs under `senv run`, the memory of senv
holds neither the secret nor the key, in bytes or in base64; a core file is ruled out. Exit status 77 where no process
may be looked into."""
import base64
import subprocess
import sys

senv = sys.argv[1]
secret = open("secret", "rb").read()
key_text = open("key", "rb").read().split(b":")[1].strip()
key = base64.b64decode(key_text)


def memory(pid):
    out = b""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            where, rights = line.split()[:2]
            start, end = (int(x, 16) for x in where.split("-"))
            if rights[0] != "r" or "[v" in line:
                continue
            mem.seek(start)
            try:
                out += mem.read(end - start)
            except OSError:
                pass
    return out


def run(script):
    """A command under senv that is still there; senv's process, when the command has begun."""
    child = subprocess.Popen(["bash", "-c", '. ./sealed; exec "$0" run -k key -p K -- sh -c "$1"', senv, script],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"begun\n"
    return child


child = run('cmp "$SENV_FILE" secret && echo begun && read -r line')
try:
    held = memory(child.pid)
except OSError as why:
    child.communicate(b"\n")
    print(why)
    sys.exit(77)
limits = open(f"/proc/{child.pid}/limits", encoding="ascii").read()
arguments = open(f"/proc/{child.pid}/cmdline", "rb").read()
child.communicate(b"\n")
assert child.returncode == 0, child.returncode
assert b"SENV_K_num" in held and len(held) > 100000, "that was not the memory of senv"
for name, needle in (("secret", secret), ("secret's beginning", secret[:16]), ("key", key), ("key's text", key_text),
                     ("half of the key", key[16:])):
    assert needle not in held, f"the memory of senv has the {name} at {held.index(needle)}"
    assert needle not in arguments
assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")] == [["0", "0"]], limits

# The look itself finds a secret where there is one.
cat = subprocess.Popen(["bash", "-c", 's=$(<secret); echo begun; read -r line; echo "$s"'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert cat.stdout.readline() == b"begun\n"
assert secret in memory(cat.pid), "the look finds nothing"
cat.communicate(b"\n")
