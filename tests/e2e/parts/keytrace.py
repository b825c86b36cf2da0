"""keytrace.py TRACE...: no system call of these traces (strace -f -y -xx) carries a piece of the private half of the
ed25519 key on stdin (OpenSSH's text), but to or from memory files, sockets and pipes, and where
the kernel made it. Prints how many calls carried
some of it, a line a trace; fails with the first call that should not have, without its data."""
import base64
import re
import sys

WINDOW = 16
LINE = re.compile(r"^(?P<pid>\d+) +(?:(?P<call>\w+)\((?P<args>.*)|<\.\.\. (?P<resumed>\w+) resumed>(?P<rest>.*))$")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
FD = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})+)>")
MEMORY = ("/memfd:senv", "socket:", "UNIX", "pipe:")

COPIES = ("copy_file_range", "sendfile", "splice", "tee", "vmsplice")  # these show no data
MEMFD = "".join(f"\\x{c:02x}" for c in b"memfd:senv")


def windows(data):
    return {data[i:i + WINDOW] for i in range(len(data) - WINDOW + 1)}


def secret_windows(text):
    """Of the 32 bytes that are the private key, as they are and in base64, where they stand in one line."""
    lines = text.decode().split("\n")
    raw = base64.b64decode("".join(lines[1:-2]))
    assert raw[98:102] == raw[102:106] and raw[157:161] == b"\0\0\0\x40", "not the layout of such a key"
    return windows(raw[161:193]) | windows("".join(lines[1:-2]).encode()[216:256])


def plain(text):
    return bytes.fromhex(text.replace("\\x", ""))


def where(args):
    """What the descriptor stands for that is the first argument."""
    found = FD.match(args)
    return plain(found.group(1)).decode("utf-8", "replace") if found else args.split(",")[0][:80]


def check(path, secret):
    carried = calls = 0
    waiting = {}  # pid: the arguments of a call that another process's line interrupted
    for number, line in enumerate(open(path, encoding="ascii", errors="replace"), 1):
        m = LINE.match(line)
        if not m:
            continue
        if m["call"]:
            calls += 1
            args = waiting[m["pid"]] = m["args"]
        else:
            args = waiting.get(m["pid"], "") + m["rest"]
        if m["call"] in COPIES and MEMFD in args:
            sys.exit(f"{path}:{number}: {m['call']} of the memory file")
        for found in STRING.finditer(line):
            data = plain(found.group(1))
            if len(data) < WINDOW or secret.isdisjoint(windows(data)):
                continue
            carried += 1
            call = m["call"] or m["resumed"]
            if call != "getrandom" and not where(args).startswith(MEMORY):
                sys.exit(f"{path}:{number}: key bytes in {call} of {where(args)}")
    if calls < 20:
        sys.exit(f"{path}: not a trace")
    print(carried)


def main():
    secret = secret_windows(sys.stdin.buffer.read())
    for path in sys.argv[1:]:
        check(path, secret)


main()
