#!/usr/bin/env python3
"""Runs the small examples: what ends by itself to its end, what serves until it has answered."""

import re
import subprocess
import sys
from http.client import HTTPConnection

# What each says, among other things.
PROGRAMS = {
    ("piecemeal", "retry"): 'Ok("hello you"), after 2 calls',
    ("piecemeal", "timeout"): "TotalTimeout",
    ("piecemeal", "rate_limit"): "Limited",
    ("piecemeal", "circuit_breaker"): "CircuitOpen",
    ("piecemeal", "failover"): 'Ok("hello, says west")',
    ("piecemeal", "cache"): "HELLO, HELLO, HELLO, after 1 call",
    ("piecemeal", "metrics"): "model=large class=unavailable",
    ("degrade", "degrade"): "Who built it? I don't know",
    ("example-reqwest", "example-reqwest"): "data: [DONE]",
    ("example-tonic", "example-tonic"): 'requests_total{gen_ai_operation_name="greet",class="success"} 3',
}


def command(package, program):
    return ["cargo", "run", "--quiet", "--locked", "-p", package, "--bin", program]


def ends(package, program, expected):
    """A program that ends by itself."""
    done = subprocess.run(command(package, program), capture_output=True, text=True, check=False)
    if done.returncode or expected not in done.stdout:
        sys.exit(f"{program}: ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"{program}: {expected}")


class Serving:
    """A server on a port of the system's choice, for as long as it is asked."""

    def __init__(self, package):
        listen = [*command(package, package), "--", "127.0.0.1:0"]
        self.process = subprocess.Popen(listen, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        said = self.process.stdout.readline()
        found = re.search(r"http://([\d.]+):(\d+)", said)
        if not found:
            sys.exit(f"found {said!r}, expected an address")
        self.address = found[1], int(found[2])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def get(self, path, headers=None):
        connection = HTTPConnection(*self.address, timeout=30)
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer


def hyper():
    with Serving("example-hyper") as server:
        answers = [server.get("/") for _ in range(30)]
        statuses = [answer.status for answer in answers]
        refused = [answer for answer in answers if answer.status == 429]
        if statuses[:5] != [200] * 5 or not refused or not refused[0].headers["retry-after"]:
            sys.exit(f"example-hyper: found {statuses}, expected five of 200, and 429 with a hint")
    with Serving("example-hyper") as server:
        if (found := server.get("/slow").status) != 504:
            sys.exit(f"example-hyper: found {found}, expected 504")
    print("example-hyper: 429 and 504")


def axum():
    with Serving("example-axum") as server:
        words = [server.get("/translate/buttress") for _ in range(2)]
        if [word.text for word in words] != ["sserttub\n"] * 2:
            sys.exit(f"example-axum: found {words[0].text!r} and {words[1].text!r}")
        if not words[0].headers["ratelimit"].startswith('"requests";r=4;'):
            sys.exit(f"example-axum: found ratelimit {words[0].headers['ratelimit']!r}")
        said = server.get("/metrics").text
        line = 'buttress_requests_total{gen_ai_operation_name="translate",class="success"} 2'
        if line not in said:
            sys.exit(f"example-axum: expected {line} in\n{said}")
    print("example-axum: a hit, a limit, metrics")


def main():
    for (package, program), expected in PROGRAMS.items():
        ends(package, program, expected)
    hyper()
    axum()


if __name__ == "__main__":
    main()
