#!/usr/bin/env python3
"""Runs one step of `.ci/run` within a time limit, and sees that nothing of it stays behind.

    step.py SECONDS COMMAND [ARGUMENT…]

Exits with the command's own status, with 124 if the time ran out, and with 125 if the command left
processes behind; they are ended in each case. Linux only: orphans are adopted (`prctl(2)`), so that
a process which left its group or session is found too.
"""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
# Helpers of a browser notice only a moment later that it is gone.
GRACE = 5.0


def descendants(pid):
    """Every process below `pid` that is not a zombie, deepest last."""
    found = []
    for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = children.read_text().split()
        except OSError:
            continue
        for child in map(int, below):
            if state(child) not in ("Z", ""):
                found.append(child)
            found += descendants(child)
    return found


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def name(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def reap():
    """Collects adopted children that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def gone(within):
    """Waits until no descendant is left, and says whether that came true."""
    end = time.monotonic() + within
    while True:
        reap()
        if not descendants(os.getpid()):
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.05)


def clear():
    """Ends what is left, and returns its names."""
    left = {pid: name(pid) for pid in descendants(os.getpid())}
    for how, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        if gone(patience):
            break
    return sorted(left.values())


def interrupted(signum, _frame):
    raise SystemExit(128 + signum)


def main():
    limit, command = float(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, interrupted)
    try:
        step = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            status = step.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            print(f"not done after {limit:.0f} s, ended: {', '.join(clear())}", flush=True)
            return 124
        if status == 0 and not gone(GRACE):
            print(f"left behind, ended: {', '.join(clear())}", flush=True)
            return 125
        return status if status >= 0 else 128 - status
    finally:
        clear()


if __name__ == "__main__":
    sys.exit(main())
