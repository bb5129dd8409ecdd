"""What the checks of `.ci` need to know about the workspace."""

import json
import pathlib
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command, **options):
    """Prints a command, runs it in the workspace's root and says whether it succeeded."""
    options.setdefault("cwd", ROOT)
    print("+", shlex.join(map(str, command)), flush=True)
    return subprocess.run(list(map(str, command)), **options).returncode == 0


def metadata(*arguments):
    """What `cargo metadata` says."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", *arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def members(publishable=False):
    """The workspace's packages by name, or only those that can be published."""
    packages = sorted(metadata("--no-deps")["packages"], key=lambda package: package["name"])
    return [p for p in packages if not publishable or p["publish"] is None]


TARGET = pathlib.Path(metadata("--no-deps")["target_directory"])
