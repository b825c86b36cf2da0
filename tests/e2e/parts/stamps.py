#!/usr/bin/env python3
"""stamps.py FILE: prints each line that is added to FILE, with the time in milliseconds, as it comes."""
import os
import sys
import time

with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
    f.seek(0, os.SEEK_END)
    while True:
        line = f.readline()
        if line:
            print(int(time.time() * 1000), line.rstrip("\n"), flush=True)
        else:
            time.sleep(0.001)
