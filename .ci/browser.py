#!/usr/bin/env python3
"""Debian's chromium, headless, streams one chat through the gateway's page.

    browser.py             the page of the gateway that `cargo build --release -p gateway` has built
    browser.py --url URL   another page with the same elements

The page has `#prompt`, `#send`, `#reply` and `#status`; `#status` carries `data-state="done"` when
the stream has ended. The screenshot is target/ci/page.png.
"""

import argparse
import contextlib
import os
import shutil
import sys
import urllib.parse

from playwright.sync_api import sync_playwright

from gateway import Gateway
from workspace import TARGET

ARGUMENTS = [
    "--disable-background-networking", "--disable-component-update", "--disable-gpu", "--disable-quic",
    "--disable-sync", "--no-first-run",
]
# Notes each different length of the reply, to tell a stream from a reply that came at once.
WATCH = """() => {
    window.lengths = [];
    const reply = document.querySelector('#reply');
    const note = () => {
        const length = reply.textContent.length;
        if (length !== window.lengths.at(-1)) window.lengths.push(length);
    };
    new MutationObserver(note).observe(reply, { childList: true, characterData: true, subtree: true });
}"""


def chat(page, url):
    """Streams one chat and returns what went wrong."""
    wrong = []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("console", lambda line: wrong.append(f"console: {line.text}") if line.type == "error" else None)

    host = urllib.parse.urlsplit(url).netloc

    def requested(request):
        address = urllib.parse.urlsplit(request.url)
        if address.scheme in ("http", "https") and address.netloc != host:
            wrong.append(f"asks another host: {request.url}")

    page.on("request", requested)
    page.goto(url)
    page.evaluate(WATCH)
    page.fill("#prompt", "Say hello in one sentence.")
    page.click("#send")
    page.wait_for_selector('#status[data-state="done"]', state="attached", timeout=20_000)
    reply, lengths = page.inner_text("#reply").strip(), page.evaluate("window.lengths")
    print(f"reply: {reply!r}, growing over {lengths}")
    if not reply:
        wrong.append("the reply is empty")
    if len([length for length in lengths if length]) < 2:
        wrong.append("the reply did not grow piece by piece")
    return wrong


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--url", help="instead of the gateway's page")
    options = arguments.parse_args()

    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed: `bash .ci/page` installs it")
    picture = TARGET / "ci" / "page.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        url = options.url or stack.enter_context(Gateway()).address + "/"
        playwright = stack.enter_context(sync_playwright())
        # Chromium's sandbox does not work for root.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, chromium_sandbox=os.getuid() != 0
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        try:
            wrong = chat(page, url)
        finally:
            page.screenshot(path=picture)
            browser.close()
            print(f"screenshot: {picture}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
