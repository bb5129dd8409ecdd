"""Starts the gateway that was built, and ends it."""

import os
import pathlib
import re
import subprocess
import tempfile
import time

from workspace import TARGET

BINARY = TARGET / "release" / "gateway"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


class Gateway:
    """The gateway in a process of its own, on a port that the system chose, in an empty folder.

    Without a configuration it serves its simulated endpoints. On leaving the block it is asked to
    end, as an operator would ask it, and has to do so in time and with status 0.
    """

    def __init__(self, configuration=None, **environment):
        self.configuration = configuration
        # Nothing of ours reaches it by accident: no key, no proxy.
        self.environment = {"PATH": os.environ["PATH"], **environment}

    def __enter__(self):
        if not BINARY.is_file():
            raise RuntimeError(f"{BINARY} is missing: cargo build --release -p gateway")
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        command = [BINARY, "--listen", "127.0.0.1:0"]
        if self.configuration is not None:
            (folder / "gateway.toml").write_text(self.configuration)
            command.append(folder / "gateway.toml")
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self.address = self.announced()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def announced(self):
        """The address that it prints when it listens."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if found := ADDRESS.search(self.output()):
                return found[0]
            if self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.output()}")
            time.sleep(0.02)
        raise RuntimeError(f"the gateway has not said where it listens:\n{self.output()}")

    def output(self):
        return self.log.read_text(errors="replace")

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            status = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        output = self.output()
        self.folder.cleanup()
        if kind is not None:
            print(f"what the gateway printed:\n{output}")
        elif status != 0:
            raise RuntimeError(f"SIGTERM ended the gateway with {status}, not with 0:\n{output}")
