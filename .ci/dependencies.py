#!/usr/bin/env python3
"""Checks the dependency tree against deny.toml: licences, banned crates, sources.

`cargo deny` does this and more, and where it is installed it runs. Building it from source takes
minutes on two cores, so this reads the few rules of deny.toml that matter here.
"""

import collections
import re
import shutil
import sys
import tomllib

from workspace import ROOT, metadata, run

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression, licences):
    """Whether an SPDX expression can be met with the given licences."""
    # Old manifests write `MIT/Apache-2.0` and mean OR.
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = either()
            if tokens.pop(0) != ")":
                raise ValueError("unbalanced")
            return met
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens[1]}"
            del tokens[:2]
        return token in licences

    try:
        met = either()
    except (IndexError, ValueError):
        return False
    return met and not tokens


def main():
    if shutil.which("cargo-deny"):
        sys.exit(not run("cargo", "deny", "--locked", "--workspace", "check", "licenses", "bans", "sources"))

    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    licences = set(rules["licenses"]["allow"])
    banned = {ban["crate"] for ban in rules["bans"]["deny"]}
    wrong, versions = [], collections.defaultdict(set)
    packages = metadata()["packages"]
    for package in packages:
        name, version, licence = package["name"], package["version"], package["license"] or ""
        versions[name].add(version)
        if not allowed(licence, licences):
            wrong.append(f"{name} {version}: licence {licence or 'not stated'!r} is not allowed")
        if name in banned:
            wrong.append(f"{name} {version}: banned")
        if package["source"] not in (None, CRATES_IO):
            wrong.append(f"{name} {version}: from {package['source']}")
        if package["source"] is None:
            wrong += [
                f"{name}: {dependency['name']} at any version"
                for dependency in package["dependencies"]
                if dependency["req"] == "*" and not dependency.get("path")
            ]
    doubles = {name: sorted(found) for name, found in versions.items() if len(found) > 1}
    for name, found in sorted(doubles.items()):
        print(f"in several versions: {name} {', '.join(found)}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(packages)} packages, {len(doubles)} of them in several versions")


if __name__ == "__main__":
    main()
