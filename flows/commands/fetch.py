"""`mat2spec fetch`: stream spectra of the Materials Project's open data into tables to train on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flows.commands.exits import resumable
from flows.commands.terminal import console, stage_progress
from flows.settings_layers import load_settings
from mat2spec.labels.edos_store import read_edos_store
from mat2spec.labels.reserved import reserved_formulas
from mat2spec.settings import SHIPPED_SHARDS
from screening.sources.materials_project.structures import fetch_structures
from screening.sources.open_data.bulk_edos import fetch_edos
from screening.sources.open_data.bulk_phdos import fetch_phdos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHOWN_IDS = 5
TITLES = {"edos": "Electronic DOS", "phdos": "Phonon DOS"}


def fetch(kind: str, target: Path, data: Path | None, config: Path | None, assignments: Sequence[str]) -> None:
    """Fetch all spectra of a kind, "edos" or "phdos", except those that `data` reserves."""
    settings = load_settings(config, assignments).source
    start = time.perf_counter()
    with stage_progress(TITLES[kind]) as progress, resumable(str(target.parent)):
        read = fetch_edos if kind == "edos" else fetch_phdos
        n_rows, left_out = read(target, settings, _reserved(data), progress)
    seconds = time.perf_counter() - start
    console.print(f"{n_rows:,} spectra in {target} ({seconds:.0f} s)", highlight=False, soft_wrap=True)
    for reason, count in sorted(left_out.items(), key=lambda item: -item[1]):
        console.print(f"{count:>9,} left out: {reason}", highlight=False, soft_wrap=True)
    if data is None:
        console.print(
            "No list of reserved materials was given (--data): a training that has one may refuse this table."
        )


def fetch_label_structures(
    target: Path, stores: Sequence[Path], config: Path | None, assignments: Sequence[str]
) -> None:
    """Fetch the crystals that the labels of some stores, by default the project's own, name by id."""
    settings = load_settings(config, assignments).source
    wanted = [
        material_id
        for store in stores or [SHIPPED_SHARDS]
        for material_id, numbers in _ids_and_atoms(store)
        if numbers is None
    ]
    start = time.perf_counter()
    with stage_progress("Structures") as progress, resumable(str(target.parent)):
        n_rows, missing = fetch_structures(target, wanted, settings, progress)
    console.print(
        f"{n_rows:,} structures in {target} ({time.perf_counter() - start:.0f} s)", highlight=False, soft_wrap=True
    )
    if missing:
        console.print(
            f"{len(missing):>9,} are no longer in the database: {', '.join(missing[:_SHOWN_IDS])}"
            f"{' ...' if len(missing) > _SHOWN_IDS else ''}",
            highlight=False,
            soft_wrap=True,
        )


def _ids_and_atoms(store: Path) -> list[tuple[str, object]]:
    labels = read_edos_store(store)
    return list(zip(labels["material_id"].to_pylist(), labels["atomic_numbers"].to_pylist(), strict=True))


def _reserved(data: Path | None) -> frozenset[str]:
    return frozenset() if data is None else frozenset(reserved_formulas(data))
