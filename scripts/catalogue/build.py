"""Build the embedded catalogue: candidates, relaxation, hull, table."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mat2spec.descriptors.chgnet import load_chgnet
from scripts.catalogue.candidates import known_candidates, substitution_candidates
from scripts.catalogue.selection import select
from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.shards import Progress, relax_shards, split_into_shards
from scripts.catalogue.table import catalogue_table, write_catalogue

ENERGY_REFERENCE = (
    "Energies are CHGNet's, trained on Materials Project PBE(+U) energies with the MaterialsProject2020Compatibility "
    "corrections. Formation energies refer to the lowest elemental crystal among the candidates; energy_above_hull to "
    "the convex hull of all candidates at this level. Relaxations keep the prototype's symmetry."
)


def build_catalogue(
    settings: CatalogueSettings, output: Path, work_dir: Path, progress: Progress | None = None
) -> pa.Table:
    """Relax all candidates that `work_dir` does not hold yet, select, and write the table.

    Parameters
    ----------
    settings
        What to relax and what to keep.
    output
        Parquet file to write.
    work_dir
        Folder of the shards; a rerun continues there.
    progress
        Told after each shard: shards done, shards in all, a line of text.

    Returns
    -------
    pyarrow.Table
        The catalogue, sorted by material_id.
    """
    torch.set_num_threads(1)  # the sums of one thread have one order: the same table every time
    progress = progress or _silent
    known, prototypes, left_out = known_candidates(settings)
    substituted, more = substitution_candidates(settings)
    prototypes.update(more)
    shards = split_into_shards([*known, *substituted], settings.shard_size)
    paths = relax_shards(lambda: load_chgnet(settings.chgnet_version), shards, prototypes, work_dir, settings, progress)
    rows = pd.concat([pq.read_table(path).to_pandas() for path in paths], ignore_index=True)
    selection = select(rows, settings, lambda text: progress(len(shards), len(shards), text))
    table = catalogue_table(selection.rows)
    write_catalogue(table, _metadata(settings, table, len(rows), left_out, selection.dropped), output)
    progress(len(shards), len(shards), f"{table.num_rows} crystals written to {output}.")
    return table


def _silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


def _metadata(
    settings: CatalogueSettings, table: pa.Table, n_candidates: int, left_out: dict[str, int], dropped: Counter[str]
) -> dict[str, Any]:
    """How the table was made."""
    return {
        "command": "python -m scripts.catalogue --output data/catalogue.parquet",
        "versions": {name: version(name) for name in ("chgnet", "pymatgen", "torch", "numpy", "spglib")},
        "settings": settings.model_dump(mode="json"),
        "energy_reference": ENERGY_REFERENCE,
        "counts": {
            "candidates relaxed": n_candidates,
            "crystals kept": table.num_rows,
            "dropped": dict(sorted(dropped.items())),
            "not relaxed at all": left_out,
        },
    }
