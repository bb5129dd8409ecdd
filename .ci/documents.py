#!/usr/bin/env python3
"""Compiles and runs the Rust in README.md, CONTRIBUTING.md and docs/.

rustdoc tests Markdown only as the docs of a library, and the root package is none. So a library is
made below the target folder whose docs these files are, with what the root's tests may use.
"""

import json
import re
import shutil
import sys

from workspace import ROOT, TARGET, members, run


def requirement(dependency):
    """A dependency of the root package, as the manifest of another package would name it."""
    fields = {"features": dependency["features"], "default-features": dependency["uses_default_features"]}
    fields["path" if dependency.get("path") else "version"] = dependency.get("path") or dependency["req"]
    body = ", ".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
    return f"{dependency['name']} = {{ {body} }}"


def main():
    root = next(package for package in members() if package["name"] == "buttress-workspace")
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]

    folder = TARGET / "ci" / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = ["[workspace]", "[package]", 'name = "documents"', 'edition = "2024"', "[lib]", 'path = "lib.rs"']
    manifest += ["[dependencies]", *map(requirement, root["dependencies"])]
    (folder / "Cargo.toml").write_text("\n".join(manifest) + "\n")
    # A module each, so that a failure names its file.
    modules = []
    for path in files:
        name = re.sub(r"\W", "_", str(path.relative_to(ROOT)).lower())
        modules.append(f"#[doc = include_str!({json.dumps(str(path))})]\npub mod {name} {{}}")
    (folder / "lib.rs").write_text("\n".join(modules) + "\n")
    shutil.copy(ROOT / "Cargo.lock", folder)
    sys.exit(not run("cargo", "test", "--quiet", "--doc", "--target-dir", TARGET, cwd=folder))


if __name__ == "__main__":
    main()
