#!/usr/bin/env python3
"""Runs one bench of the package `benches`, in its short form: `bench.py NAME`.

`BENCH_QUICK=1` asks a bench for a run of a minute or two. What it prints is for readers: shared
machines are too uneven for a time to decide anything.
"""

import os
import sys

from workspace import members, run


def main():
    name = sys.argv[1]
    package = next(package for package in members() if package["name"] == "buttress-benches")
    kinds = [kind for target in package["targets"] if target["name"] == name for kind in target["kind"]]
    if not kinds:
        print(f"there is no bench {name} yet")
        return
    how = ["bench", "--bench"] if "bench" in kinds else ["run", "--release", "--bin"]
    environment = {**os.environ, "BENCH_QUICK": "1"}
    sys.exit(not run("cargo", how[0], "--locked", "-p", package["name"], *how[1:], name, env=environment))


if __name__ == "__main__":
    main()
