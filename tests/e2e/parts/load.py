"""load.py PORT FILE: asks for the page, one connection a request, from four threads, until FILE is gone. Prints
'N requests, M failed', what failed, and the longest time between two answers in ms. A refused, reset, cut or empty
answer is a failure; so is any status but 200."""
import collections
import os
import socket
import sys
import threading
import time

port, flag = int(sys.argv[1]), sys.argv[2]
asked, failed, gap = 0, collections.Counter(), 0.0
lock = threading.Lock()


def ask():
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(10)
        s.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        data = b""
        while part := s.recv(4096):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or not body:
        return "answer " + repr(data[:40])
    return None


def client():
    global asked, gap
    last = time.monotonic()
    while os.path.exists(flag):
        try:
            why = ask()
        except OSError as e:
            why = type(e).__name__
        now = time.monotonic()
        with lock:
            asked += 1
            gap = max(gap, now - last)
            if why:
                failed[why] += 1
        last = now


threads = [threading.Thread(target=client) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(f"{asked} requests, {sum(failed.values())} failed", dict(failed) or "", f"longest wait {gap * 1000:.0f} ms")
