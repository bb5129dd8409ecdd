#!/usr/bin/env python3
"""Checks every publishable crate by itself, as somebody who depends on that one crate would build it.

`-p X` resolves features for X alone, and `--lib` leaves out what only its tests ask for: a feature of
tokio that X uses but forgot to name is missing here, while a build of the whole workspace finds it
switched on by a neighbour. The tests follow in a build of their own, because they may lean on a
neighbour in the same way. Clippy looks at the sets of features that its own step does not see, for
what is unused without one of them.
"""

import sys

from workspace import members, run


def builds(package):
    """The ways to build a package: as it is, its tests, and with other features where it has some."""
    deny = ["--", "-D", "warnings"]
    yield "check", ["--lib"], []
    yield "check", ["--tests"], []
    features = package["features"]
    if features.get("default"):
        yield "clippy", ["--lib", "--no-default-features"], deny
    if set(features) - {"default"} - set(features.get("default", [])):
        yield "clippy", ["--lib", "--all-features"], deny


def main():
    failed = []
    for package in members(publishable=True):
        name = package["name"]
        for command, what, lints in builds(package):
            if not run("cargo", command, "--quiet", "--locked", "-p", name, *what, *lints):
                failed.append(" ".join([name, *what]))
    if failed:
        sys.exit("does not build alone: " + ", ".join(failed))


if __name__ == "__main__":
    main()
