"""exec.py WHAT, in the folder to build: `runner exec` on a terminal of its own, as a person would use it.
shell: --shell-on-failure, twice what a person does there; interrupt: Ctrl-C; kill: kill -9 of it."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

what = sys.argv[1]
DEADLINE = 20
PROMPT = rb"# (\x1b\[[0-9]*[a-zA-Z])*$"  # busybox asks the terminal where it is


class Terminal:
    def __init__(self, *argv):
        self.seen, self.at = b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp("runner", ["runner", *argv])
        self.size(31, 97)

    def size(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        if not select.select([self.fd], [], [], 0.05)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.seen += data
        return bool(data)

    def wait(self, pattern):
        """Until that comes, behind what was waited for before."""
        until = time.monotonic() + DEADLINE
        while True:
            found = re.compile(pattern).search(self.seen, self.at)
            if found:
                self.at = found.end()
                return found
            open_ = self.read()
            assert (open_ and time.monotonic() < until) or re.compile(pattern).search(self.seen, self.at), \
                f"waited in vain for {pattern}: {self.seen[self.at:].decode(errors='replace')}"

    def type(self, text):
        os.write(self.fd, text)

    def command(self, text, answer):
        """At the prompt."""
        self.wait(PROMPT)
        self.type(text + b"\r")
        self.wait(answer)

    def raw(self):
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def end(self):
        until = time.monotonic() + DEADLINE
        while self.read():
            assert time.monotonic() < until, self.seen
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def children(pid):
    out = set()
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="latin1") as f:
                parent = f.read().rsplit(")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        if parent == str(pid):
            out |= {int(name)} | children(int(name))
    return out


def gone(pids):
    until = time.monotonic() + DEADLINE
    left = pids
    while left:
        left = {p for p in left if os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"}
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.02)


if what == "shell":
    t = Terminal("exec", "--shell-on-failure", "--secret", "TOKEN")
    t.wait(rb"\x1b\[1;34m--- install\x1b\[0m\r\n")
    t.wait(rb"a shell in the failed container")
    t.wait(PROMPT)
    assert t.raw(), "the terminal is not raw while the shell has it"
    t.type(b"echo [$FROM_FILE] [$FROM_SCRIPT] [$TOKEN] [$(pwd)] [$(cat made)] [$CI_BRANCH] [$-]\r")
    t.wait(rb"\[file\] \[it's here\] \[tok-123456\] \[/build/deep\] \[made\] \[main\] \[[a-z]*i[a-z]*\]\r\n")
    t.command(b"stty size", rb"31 97\r\n")
    t.size(40, 120)
    os.kill(t.pid, signal.SIGWINCH)
    t.command(b"stty size", rb"40 120\r\n")
    # Ctrl-C reaches what runs in there, and neither the shell nor exec.
    t.command(b"sh -c 'echo be''gun; exec sleep 1000'", rb"begun\r\n")
    t.type(b"\x03")
    t.command(b"echo $?", rb"130\r\n")
    t.command(b"sleep 1000 &", rb"\r\n")
    t.command(b"jobs", rb"Running +sleep 1000")
    t.wait(PROMPT)
    t.type(b"exit\r")
    t.wait(rb"slipway: failed: the script failed")
    status = t.end()
    assert status == 1, status
    assert b"\x1b[1m$ false\x1b[0m" in t.seen, t.seen
elif what == "interrupt":
    t = Terminal("exec")
    t.wait(rb"begun\r\n")
    below = children(t.pid)
    assert len(below) >= 3, below
    t.type(b"\x03")
    t.wait(rb"slipway: canceled")
    status = t.end()
    assert status == 128 + signal.SIGINT, status
    gone(below)
elif what == "kill":
    t = Terminal("exec")
    t.wait(rb"begun\r\n")
    below = children(t.pid)
    os.kill(t.pid, signal.SIGKILL)
    t.end()
    gone(below)
else:
    sys.exit(f"what is {what}?")
