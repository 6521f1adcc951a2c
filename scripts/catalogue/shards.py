"""Resumable relaxation: candidates in shards, each an atomically written Parquet file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from chgnet.model import CHGNet
from pymatgen.core import Element

from scripts.catalogue.candidates import Candidate, Prototype
from scripts.catalogue.relaxation import Relaxation, relax
from scripts.catalogue.settings import CatalogueSettings

MAX_SCALE_SPREAD = 1.25
"""Largest ratio of the estimated lattice scales in one shard."""

Progress = Callable[[int, int, str], None]
"""Called with the shards done, the shards in all, and a line of text."""


def split_into_shards(candidates: Sequence[Candidate], size: int) -> list[list[Candidate]]:
    """Cut candidates into shards of one prototype and similar lattice scale, order kept."""
    shards: list[list[Candidate]] = []
    for candidate in candidates:
        last = shards[-1] if shards else []
        if not last or len(last) >= size or not _belong_together(last[0], candidate):
            shards.append([])
        shards[-1].append(candidate)
    return shards


def _belong_together(first: Candidate, candidate: Candidate) -> bool:
    """Tell whether two candidates can share a table of bonds without wasting much of it."""
    return first.prototype == candidate.prototype and first.scale <= candidate.scale <= MAX_SCALE_SPREAD * first.scale


def shard_fingerprint(shard: Sequence[Candidate], settings: CatalogueSettings) -> str:
    """Hash of what a shard's content depends on."""
    text = json.dumps([[c.material_id, list(c.elements), c.scale] for c in shard])
    return hashlib.sha256(f"{settings.relaxation_fingerprint()}/{text}".encode()).hexdigest()[:16]


def relax_shards(
    load_model: Callable[[], CHGNet],
    shards: Sequence[Sequence[Candidate]],
    prototypes: dict[str, Prototype],
    work_dir: Path,
    settings: CatalogueSettings,
    progress: Progress,
) -> list[Path]:
    """Relax the shards that are not in `work_dir` yet and return the paths of all of them.

    Parameters
    ----------
    load_model
        Called once, when the first missing shard is met.
    shards
        Candidates, each shard of one prototype.
    prototypes
        Prototypes by key.
    work_dir
        Folder of the shard files; a rerun continues where the last one stopped.
    settings
        Tolerances and limits.
    progress
        Told after each shard.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    model: CHGNet | None = None
    paths = []
    for number, shard in enumerate(shards):
        path = work_dir / f"shard-{shard_fingerprint(shard, settings)}.parquet"
        paths.append(path)
        if not path.exists():
            model = model or load_model()
            _write_atomically(_relax_shard(model, shard, prototypes[shard[0].prototype], settings), path)
        progress(number + 1, len(shards), f"{shard[0].prototype}: {len(shard)} crystals")
    return paths


def _relax_shard(
    model: CHGNet, shard: Sequence[Candidate], prototype: Prototype, settings: CatalogueSettings
) -> pa.Table:
    elements = np.array([[Element(symbol).Z for symbol in c.elements] for c in shard], dtype=np.int64)
    scales = np.array([c.scale for c in shard], dtype=np.float64)
    scan = (1.0,) if shard[0].origin == "aflow" else settings.scan_scales
    relaxed = relax(model, prototype.cell, elements, scales, scan, settings)
    rows = [_row(i, candidate, prototype, elements[i], relaxed) for i, candidate in enumerate(shard)]
    return pa.Table.from_pylist(rows)


def _row(
    index: int, candidate: Candidate, prototype: Prototype, elements: np.ndarray[Any, Any], relaxed: Relaxation
) -> dict[str, Any]:
    return {
        "material_id": candidate.material_id,
        "prototype": prototype.label,
        "origin": candidate.origin,
        "atomic_numbers": elements[prototype.cell.slots].tolist(),
        "lattice": relaxed.lattices[index].ravel().tolist(),
        "frac_coords": relaxed.frac_coords[index].ravel().tolist(),
        "energy_per_atom": float(relaxed.energy[index]) / len(prototype.cell.slots),
        "max_force_ev_per_a": float(relaxed.max_force[index]),
        "max_stress_gpa": float(relaxed.max_stress[index]),
        "relaxation_steps": int(relaxed.steps[index]),
        "converged": bool(relaxed.converged[index]),
        "contact": float(relaxed.contact[index]),
        "collapsed": bool(relaxed.collapsed[index]),
    }


def _write_atomically(table: pa.Table, path: Path) -> None:
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd")
    partial.replace(path)
