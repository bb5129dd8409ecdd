#!/usr/bin/env python3
"""Packs every publishable crate, and builds what is in the packages.

cargo can verify packages itself, but for crates that need each other and are on no registry yet it
unpacks them into its home once and never again for the same version: from the second run on, that
would test the sources of the first. So the packages are unpacked here, into a workspace that takes
each from beside the others. They are only checked: that every crate links and runs is the tests'
business, what can be wrong here is a file or a dependency that the package lacks.
"""

import shutil
import sys
import tarfile

from workspace import ROOT, TARGET, members, run

NEEDED = ["description", "documentation", "keywords", "license", "readme"]
FILES = ["Cargo.toml", "README.md", "CHANGELOG.md", "src/lib.rs"]


def faults(package, ours):
    """What crates.io, or the rules of this workspace, would hold against a manifest."""
    for field in NEEDED:
        if not package[field]:
            yield f"no {field}"
    for dependency in package["dependencies"]:
        if dependency["name"] not in ours:
            continue
        by_path_alone = dependency["req"] == "*"
        if dependency["kind"] == "dev" and not by_path_alone:
            yield f"dev-dependency {dependency['name']}: give the path alone, a version closes a circle"
        if dependency["kind"] != "dev" and by_path_alone:
            yield f"dependency {dependency['name']}: no version"


def undated(member, path):
    """Leaves out the time of a packed file: all have the same, so that cargo would see no change."""
    return tarfile.data_filter(member, path).replace(mtime=None, deep=False)


def main():
    packages = members(publishable=True)
    ours = {package["name"] for package in members()}
    wrong = [f"{p['name']}: {fault}" for p in packages for fault in faults(p, ours)]

    selected = [argument for package in packages for argument in ("-p", package["name"])]
    packed = run("cargo", "package", "--quiet", "--no-verify", "--allow-dirty", *selected)
    if not packed:
        sys.exit("cargo package failed")

    unpacked = TARGET / "ci" / "packages"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    folders = {}
    for package in packages:
        folder = f"{package['name']}-{package['version']}"
        with tarfile.open(TARGET / "package" / f"{folder}.crate") as archive:
            archive.extractall(unpacked, filter=undated)
        folders[package["name"]] = folder
        wrong += [f"{folder}: no {name}" for name in FILES if not (unpacked / folder / name).is_file()]
    manifest = ["[workspace]", 'resolver = "3"', f"members = {list(folders.values())}", "[patch.crates-io]"]
    manifest += [f'{name} = {{ path = "{folder}" }}' for name, folder in folders.items()]
    (unpacked / "Cargo.toml").write_text("\n".join(manifest) + "\n")
    shutil.copy(ROOT / "Cargo.lock", unpacked)
    if not run("cargo", "check", "--quiet", "--workspace", "--lib", "--target-dir", TARGET, cwd=unpacked):
        wrong.append("the packages do not build")

    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(folders)} packages: {', '.join(folders.values())}")


if __name__ == "__main__":
    main()
