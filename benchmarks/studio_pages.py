"""How soon is the studio there, how fast do its pictures come, what does it keep, is it fair? Measured in a real browser.

uv run python benchmarks/studio_pages.py --out studio.json > studio.md

Starts `app.py` as a user does, opens it in Debian's Chromium without a window, and clicks. Needs /usr/bin/chromium and playwright.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page, sync_playwright

from studio.machine import machine_now
from studio.runs import commit

ROOT = Path(__file__).resolve().parent.parent
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
WAIT_MS = 180_000
ASKED = {  # figure: (what, unit, threshold)
    "page_s": ("page there, after the command", "s", 15.0),
    "cold_chunk_s": ("first computed chunk, after the command, clicked at once", "s", 35.0),
    "warm_chunk_s": ("first computed chunk, after a click, warm (median)", "s", 4.0),
    "further_chunk_s": ("a further chunk (median)", "s", 2.0),
    "answer_s": ("What if: both plans, after a click (median)", "s", None),
    "both_chunk_s": ("What if: first computed chunk of both sides, after a click (median)", "s", 4.0),
    "drive_fps": ("Drive: multi-view frames per second", "1/s", 2.0),
    "kept_mb": ("memory kept after {rollouts} rollouts, idle", "MB", 200.0),
    "alone_s": ("2 s imagined by one visitor through the API", "s", None),
    "first_of_many_s": ("the same by {visitors} visitors at once: first done", "s", None),
    "last_of_many_s": ("- last done", "s", None),
    "idle_s": ("model idle after the tab was closed", "s", None),
}


@dataclass
class Studio:
    """A running `app.py`."""

    process: "subprocess.Popen[bytes]"
    address: str
    started: float

    def rss_mb(self) -> float:
        """Resident memory of the process, MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024

    def busy(self, seconds: float) -> float:
        """Cores that the process uses over the next seconds."""
        before = self._cpu_s()
        time.sleep(seconds)
        return (self._cpu_s() - before) / seconds

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(folder: Path) -> Iterator[Studio]:
    """`app.py` from the command to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "app.log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--port", str(port)], cwd=ROOT, stderr=log, stdout=log
        )
    studio = Studio(process, f"http://127.0.0.1:{port}", started)
    try:
        _wait_for(studio)
        yield studio
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(studio: Studio) -> None:
    while True:
        try:
            urllib.request.urlopen(studio.address, timeout=5).close()
            return
        except OSError:
            if studio.process.poll() is not None or time.monotonic() - studio.started > 180:
                raise
            time.sleep(0.05)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGS))
        yield chromium
        chromium.close()


def opened(chromium: Any, studio: Studio, query: str = "") -> Page:
    """A new visitor's page."""
    page: Page = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{studio.address}/{query}")
    return page


WATCH = """() => {
  const status = document.querySelector('#imagine-status');
  window.chunks = {};
  new MutationObserver(() => {
    const found = status.innerText.match(/^Chunk (\\d+) of \\d+ ·|^Done/);
    if (found && (found[1] || window.chunks['1'])) window.chunks[found[1] || 'Done'] ??= performance.now();
  }).observe(status, {subtree: true, childList: true, characterData: true});
}"""
CLICK = "() => { window.clicked = performance.now(); document.querySelector('#imagine-go').click(); }"


def imagine_once(page: Page) -> list[float]:
    """Click 'Imagine' and wait for the end; seconds from the click to each chunk that the page shows."""
    page.wait_for_selector("#imagine-film canvas")
    page.wait_for_selector("#imagine-go:not([disabled])")
    page.evaluate(WATCH)
    page.evaluate(CLICK)
    page.wait_for_function("window.chunks.Done !== undefined")
    found = page.evaluate("[window.clicked, window.chunks]")
    return sorted((at - found[0]) / 1000 for at in found[1].values())


def start(studio: Studio, chromium: Any) -> dict[str, float]:
    """From the command to the page and to the first chunk of who clicks at once."""
    page = opened(chromium, studio)
    page.wait_for_selector("#imagine-go:not([disabled])")
    ready = time.monotonic() - studio.started
    waited = imagine_once(page)[0]
    clicked = page.evaluate("(performance.now() - window.clicked) / 1000")
    cold = time.monotonic() - studio.started - clicked + waited
    page.context.close()
    return {"page_s": ready, "cold_chunk_s": cold}


def pace(studio: Studio, chromium: Any, rollouts: int) -> dict[str, float]:
    """Futures of 4 s one after the other: first and further chunks, and what memory stays."""
    page = opened(chromium, studio)
    firsts, between = [], []
    for number in range(rollouts + 2):
        if number == 2:  # what is allocated once is there now
            before = studio.rss_mb()
        chunks = imagine_once(page)
        firsts.append(chunks[0])
        between += [b - a for a, b in pairwise(chunks[:-1])]
    page.context.close()
    time.sleep(15)
    return {
        "warm_chunk_s": median(firsts[1:]),
        "further_chunk_s": median(between),
        "kept_mb": studio.rss_mb() - before,
    }


SIDES = """() => {
  const status = document.querySelector('#what-if-status');
  window.steps = {};
  new MutationObserver(() => {
    const now = performance.now(), text = status.innerText;
    if (/how both go on/.test(text)) window.steps.answer ??= now;
    if (/imagined on both sides/.test(text)) window.steps.chunk ??= now;
    if (/^Done/.test(text) && window.steps.chunk) window.steps.done ??= now;
  }).observe(status, {subtree: true, childList: true, characterData: true});
  window.clicked = performance.now();
  document.querySelector('#what-if-go').click();
}"""


def what_if(studio: Studio, chromium: Any, times: int = 5) -> dict[str, float]:
    """A car 12 m ahead, again and again; the first time loads the planner and does not count."""
    page = opened(chromium, studio, "?tab=what-if")
    page.wait_for_selector("#what-if-cameras canvas, #what-if-cameras img")
    answers, chunks = [], []
    for _ in range(times + 1):
        page.wait_for_timeout(2000)
        page.evaluate(SIDES)
        page.wait_for_function("window.steps.done !== undefined")
        clicked, steps = page.evaluate("[window.clicked, window.steps]")
        answers.append((steps["answer"] - clicked) / 1000)
        chunks.append((steps["chunk"] - clicked) / 1000)
    page.context.close()
    return {"answer_s": median(answers[1:]), "both_chunk_s": median(chunks[1:])}


def drive(studio: Studio, chromium: Any, seconds: float) -> dict[str, float]:
    """Hold 'forward' for a while; frames that the player has got, per second."""
    page = opened(chromium, studio, "?tab=drive")
    page.wait_for_selector("#drive-go:not([disabled])")
    page.wait_for_timeout(1000)
    page.click("#drive-go")
    count = "Number(document.querySelector('#drive-player input.scrubber').max)"
    page.wait_for_function(f"{count} > 24")
    begun, frames = time.monotonic(), page.evaluate(count)
    page.wait_for_timeout(seconds * 1000)
    rate = (page.evaluate(count) - frames) / (time.monotonic() - begun)
    page.context.close()
    return {"drive_fps": rate}


def leave(studio: Studio, chromium: Any) -> dict[str, float]:
    """Close the tab in the middle of 60 s; seconds until the server uses less than a tenth of a core."""
    page = opened(chromium, studio, "?tab=imagine&seconds=60")
    page.wait_for_selector("#imagine-go:not([disabled])")
    page.wait_for_timeout(1500)
    page.evaluate(WATCH)
    page.evaluate(CLICK)
    page.wait_for_function("window.chunks['3'] !== undefined")
    page.context.close()
    left = time.monotonic()
    while studio.busy(0.5) > 0.1 and time.monotonic() - left < 60:
        pass
    return {"idle_s": time.monotonic() - left - 0.5}


def crowd(studio: Studio, visitors: int) -> dict[str, float]:
    """The same future asked for by many sessions at once, through the API."""
    from gradio_client import Client

    clients = [Client(studio.address, verbose=False) for _ in range(visitors)]

    def ask(client: Any) -> float:
        begun = time.monotonic()
        client.predict(clip="0", seconds=2.0, api_name="/imagine")
        return time.monotonic() - begun

    alone = ask(clients[0])
    with ThreadPoolExecutor(visitors) as pool:
        took = sorted(pool.map(ask, clients))
    return {"alone_s": alone, "first_of_many_s": took[0], "last_of_many_s": took[-1]}


def main() -> None:
    """Print a Markdown table; write all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=20, help="futures of 4 s before memory is read again")
    parser.add_argument("--visitors", type=int, default=8, help="at once")
    parser.add_argument("--drive-seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, help="JSON with every number")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser() as chromium, running(Path(folder)) as studio:
        figures = start(studio, chromium)
        figures |= pace(studio, chromium, args.rollouts)
        figures |= what_if(studio, chromium)
        figures |= drive(studio, chromium, args.drive_seconds)
        figures |= leave(studio, chromium)
        figures |= crowd(studio, args.visitors)
    about = {**machine_now(os.cpu_count() or 1), "commit": commit()}
    if args.out:
        args.out.write_text(json.dumps({"figures": figures, "machine": about}, indent=2) + "\n", encoding="utf-8")
    print("| what | measured | asked | |\n|---|---|---|---|")
    for name, (what, unit, asked) in ASKED.items():
        print(_row(what.format(**vars(args)), figures[name], unit, asked, more_is_better=name == "drive_fps"))


def _row(what: str, value: float, unit: str, asked: float | None, *, more_is_better: bool) -> str:
    if asked is None:
        return f"| {what} | {value:.2f} {unit} | | |"
    met = value >= asked if more_is_better else value <= asked
    return f"| {what} | {value:.2f} {unit} | {asked:g} {unit} | {'met' if met else '**missed**'} |"


if __name__ == "__main__":
    main()
