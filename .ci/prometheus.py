#!/usr/bin/env python3
"""Debian's prometheus scrapes the gateway, and is asked for what it has got.

    prometheus.py    the gateway that `cargo build --release -p gateway` has built

promtool checks the format of `/metrics`, the alert rules and their tests. Then a server with those
rules loaded scrapes while calls are made, and has to come to the numbers that the callers saw.
"""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from gateway import Gateway

RULES = pathlib.Path("crates/metrics/dashboards").resolve()
LISTENS = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:\d+)')
CONFIGURATION = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ['{rules}']
scrape_configs:
  - job_name: gateway
    static_configs:
      - targets: ['{target}']
"""
# Nothing that is asked for here goes over a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url):
    with OPENER.open(url, timeout=10) as answer:
        return answer.read()


def chat(address, model, stream=False):
    """Makes a call, and returns its status and the tokens that its reply tells."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say hello in one sentence."}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with OPENER.open(request, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, {}
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith(("data: {", "{"))]
    used = [usage for event in events if (usage := json.loads(event).get("usage"))]
    return status, used[-1]


def promtool(*arguments, **more):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, **more)
    print(f"promtool {' '.join(map(str, arguments[:2]))}: {done.stdout.strip() or 'nothing to say'}")
    if done.returncode:
        sys.exit(f"promtool ended with {done.returncode}:\n{done.stderr}")


class Prometheus:
    """The server in a process of its own, on a port that the system chose."""

    def __init__(self, target):
        self.target = target

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        file = folder / "prometheus.yml"
        file.write_text(CONFIGURATION.format(rules=RULES / "alerts.yml", target=self.target))
        self.log = folder / "log"
        command = [
            "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.address = until("prometheus listens", lambda: LISTENS.search(self.output()))[1]
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def output(self):
        return self.log.read_text(errors="replace")

    def ask(self, path, **query):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        return json.loads(get(url))["data"]

    def value(self, query):
        """What a query comes to: a number, or `None` if there is no such series yet."""
        found = self.ask("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def __exit__(self, kind, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(f"what prometheus printed:\n{self.output()}")
        self.folder.cleanup()


def until(what, look, seconds=30):
    """Looks until there is something to see."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if seen := look():
                return seen
        time.sleep(0.1)
    raise RuntimeError(f"after {seconds} s, this is not so: {what}")


def main():
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        sys.exit("prometheus is not installed: `bash .ci/metrics` installs it")
    promtool("check", "rules", RULES / "alerts.yml")
    for tests in sorted(RULES.glob("*.test.yml")):
        promtool("test", "rules", tests.name, cwd=RULES)

    with Gateway() as gateway, Prometheus(gateway.address.removeprefix("http://")) as prometheus:
        output = {}
        for model in ("sim-gpt", "sim-claude", "sim-gemini"):
            for stream in (False, True):
                status, used = chat(gateway.address, model, stream)
                if status != 200:
                    raise RuntimeError(f"{model} answered with {status}")
                output[model] = output.get(model, 0) + used["completion_tokens"]
        status, _ = chat(gateway.address, "nobody-knows")
        if status != 404:
            raise RuntimeError(f"a model that there is not is answered with {status}")
        promtool("check", "metrics", input=get(f"{gateway.address}/metrics").decode())

        expected = {
            'sum(buttress_requests_total{class="success"})': 6,
            'sum(buttress_attempts_total{class="success"})': 6,
            "sum(buttress_requests_in_flight)": 0,
            "sum(buttress_attempts_in_flight)": 0,
            'gateway_turned_away_total{reason="unknown_model"}': 1,
            "sum(buttress_attempt_cost_pico_total) > 0": None,
            "count(gen_ai_client_operation_duration_seconds_bucket) > 0": None,
        }
        for model, tokens in output.items():
            labels = f'gen_ai_token_type="output",gen_ai_request_model="{model}"'
            expected[f"sum(gen_ai_client_token_usage_sum{{{labels}}})"] = tokens
        for query, number in expected.items():
            def seen(query=query, number=number):
                found = prometheus.value(query)
                return found is not None and (number is None or found == number) and [found]

            found = until(f"{query} is {number}", seen)[0]
            print(f"{query}: {found:g}")

        def evaluated():
            groups = prometheus.ask("rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return all(rule["health"] != "unknown" for rule in rules) and rules

        rules = until("all rules were evaluated", evaluated)
        wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
        wrong += [f"{rule['name']} is {rule['state']}" for rule in rules if rule["state"] == "firing"]
        targets = prometheus.ask("targets")["activeTargets"]
        wrong += [target["lastError"] for target in targets if target["health"] != "up"]
        print(f"{len(rules)} rules, {len(targets)} target")
        if wrong or not rules or not targets:
            raise RuntimeError("\n".join(wrong) or "nothing is loaded")


if __name__ == "__main__":
    main()
