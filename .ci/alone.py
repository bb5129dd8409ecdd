#!/usr/bin/env python3
"""Checks every publishable crate by itself, as somebody who depends on that one crate would build it.

`cargo check -p X` resolves features for X alone, and `--lib` leaves out what only its tests ask for:
a feature of tokio that X uses but forgot to name is missing here, while a build of the whole
workspace finds it switched on by a neighbour. The tests follow in a second build, because they may
lean on a neighbour in the same way.
"""

import sys

from workspace import members, run


def variants(package):
    """The sets of features to build: the default, none and all, as far as they differ."""
    features = package["features"]
    yield []
    if features.get("default"):
        yield ["--no-default-features"]
    if set(features) - {"default"} - set(features.get("default", [])):
        yield ["--all-features"]


def main():
    failed = []
    for package in members(publishable=True):
        name = package["name"]
        builds = [["--lib", *features] for features in variants(package)] + [["--tests"]]
        failed += [
            " ".join([name, *build])
            for build in builds
            if not run("cargo", "check", "--quiet", "--locked", "-p", name, *build)
        ]
    if failed:
        sys.exit("does not build alone: " + ", ".join(failed))


if __name__ == "__main__":
    main()
