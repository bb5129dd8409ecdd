#!/usr/bin/env python3
"""Runs one bench of the package `benches`, in its short form: `bench.py NAME`.

`BENCH_QUICK=1` asks a bench for a run of a minute or two. What it prints is for readers: shared
machines are too uneven for a time to decide anything.
"""

import os
import sys

from workspace import members, run


def main():
    name, package = sys.argv[1], "buttress-benches"
    targets = next(member["targets"] for member in members() if member["name"] == package)
    if not any(target["name"] == name and "bench" in target["kind"] for target in targets):
        print(f"there is no bench {name} yet")
        return
    environment = {**os.environ, "BENCH_QUICK": "1"}
    sys.exit(not run("cargo", "bench", "--locked", "-p", package, "--bench", name, env=environment))


if __name__ == "__main__":
    main()
