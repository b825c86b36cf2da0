"""terminal.py SENV, in a folder with `key` and `pub`: values and passphrases are asked for on the terminal, and what is
typed there is not shown."""
import os
import pty
import select
import subprocess
import sys
import termios
import time

senv = sys.argv[1]


def talk(argv, answers):
    """Runs argv on a terminal; types each answer when its prompt has come and echo is off. All output, and status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    seen, at, until = b"", 0, time.monotonic() + 20
    for prompt, typed in answers:
        while prompt not in seen[at:] or termios.tcgetattr(fd)[3] & termios.ECHO:
            assert time.monotonic() < until, (prompt, seen)
            if select.select([fd], [], [], 0.02)[0]:
                seen += os.read(fd, 4096)
        at = len(seen)
        os.write(fd, typed + b"\n")
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if not data:
            break
        seen += data
    return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said(seen, status, want_status=0):
    assert status == want_status, (status, seen)
    for typed in (b"tok-123456", b"open sesame", b"open sesamf"):
        assert typed not in seen, seen
    return seen


seen = said(*talk([senv, "seal", "-k", "pub", "TOKEN"], [(b"TOKEN: ", b"tok-123456")]))
env = dict(line.split("=", 1) for line in seen.decode().split("\r\n") if line.startswith("SENV_TOKEN_"))
opened = subprocess.run([senv, "decrypt", "-k", "key", "-p", "TOKEN"], env={**os.environ, **env}, stdout=subprocess.PIPE, check=True)
assert opened.stdout == b"tok-123456", opened
twice = [(b"passphrase: ", b"open sesame"), (b"once more: ", b"open sesame")]
said(*talk([senv, "keygen", "--passphrase", "-o", "locked"], twice))
seen = said(*talk([senv, "pubkey", "locked"], [(b"passphrase: ", b"open sesame")]))
assert b"senv-public-key-1:" in seen, seen
twice[1] = (b"once more: ", b"open sesamf")
seen = said(*talk([senv, "keygen", "--passphrase", "-o", "never"], twice), 1)
assert b"the two passphrases differ" in seen and not os.path.exists("never"), seen
