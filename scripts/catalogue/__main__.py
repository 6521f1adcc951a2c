"""Command line of the catalogue: `python -m scripts.catalogue --output data/catalogue.parquet`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from scripts.catalogue.build import build_catalogue
from scripts.catalogue.settings import CatalogueSettings


def main() -> None:
    """Build the catalogue, or continue to build it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.catalogue", description="Build the embedded catalogue.")
    parser.add_argument("--output", type=Path, default=Path("data/catalogue.parquet"), help="Parquet file to write.")
    parser.add_argument("--work-dir", type=Path, default=Path("build/catalogue"), help="Folder of the shards.")
    parser.add_argument("--settings", type=Path, help="JSON file of settings; the defaults made the committed table.")
    arguments = parser.parse_args()
    settings = CatalogueSettings()
    if arguments.settings is not None:
        settings = CatalogueSettings.model_validate_json(arguments.settings.read_text())
    started = time.monotonic()

    def report(done: int, total: int, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:7.0f} s  {done}/{total}  {text}\n")
        sys.stderr.flush()

    build_catalogue(settings, arguments.output, arguments.work_dir, report)


if __name__ == "__main__":
    main()
