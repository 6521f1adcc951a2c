"""Time until the page of a run is drawn in a browser: `python benchmarks/open_page.py RUN/report.html`.

Debian's chromium, with software rendering: list, curves and structure of the first pick are there. The processor time is that of
the thread that reads, runs and lays out the page; on a machine that does nothing else it decides the elapsed time. Needs playwright.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

# What a person waits for: rows of the list, the curves, the drawn structure.
DRAWN = ("#rows tr", "#spectrum .main-svg", "#structure canvas")
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def seconds_to_open(browser: Browser, path: Path) -> tuple[float, float]:
    """Seconds until the page is drawn: elapsed, and of processor time of its main thread."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    start = time.perf_counter()
    page.goto(path.resolve().as_uri())
    for selector in DRAWN:
        page.wait_for_selector(selector)
    elapsed = time.perf_counter() - start
    metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    page.close()
    return elapsed, metrics["TaskDuration"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        for _ in range(3):
            elapsed, processor = seconds_to_open(browser, path)
            print(f"elapsed {elapsed:.2f} s, processor time of the page {processor:.2f} s")
    print(f"{path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
