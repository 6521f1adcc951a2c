"""Labelled spectra for training: crystals, graphs, spectra and splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs
from mat2spec.graphs.settings import GraphSettings
from mat2spec.settings import PredictionSettings
from mat2spec.spectra.grids import SpectralGrid
from mat2spec.tables.array_cache import descriptor_cache
from mat2spec.tables.files import file_sha256


class DataError(ValueError):
    """Training data are missing or cannot be used; the message says what to do."""


@dataclass(frozen=True)
class LabelledSpectra:
    """Crystals with their spectra.

    Parameters
    ----------
    name
        Origin of the data, for the card of the weights.
    material_ids
        Shape (n,).
    formulas
        Reduced formulas, shape (n,), which must not be shared between splits.
    graphs
        One graph per crystal.
    spectra
        Spectra per atom on `grid`, shape (n, size).
    split
        Names of `mat2spec.labels.splits.Split`, or ``"store_test"``, shape (n,).
    grid
        The spectral grid.
    sources
        Content hash of every file read, by name.
    dropped
        Number of materials left out, by reason.
    crystals
        The crystals themselves, for selection by symmetry; None if not kept.
    """

    name: str
    material_ids: NDArray[np.object_]
    formulas: NDArray[np.object_]
    graphs: CrystalGraphs
    spectra: NDArray[np.float32]
    split: NDArray[np.object_]
    grid: SpectralGrid
    sources: dict[str, str]
    dropped: dict[str, int]
    crystals: Crystals | None = None

    def __len__(self) -> int:
        return len(self.material_ids)

    @property
    def n_atoms(self) -> NDArray[np.int64]:
        """Atoms in each cell, shape (n,)."""
        return self.graphs.n_atoms.numpy()

    def take(self, indices: NDArray[np.integer]) -> LabelledSpectra:
        """The materials at `indices`."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            material_ids=self.material_ids[chosen],
            formulas=self.formulas[chosen],
            graphs=self.graphs.take(chosen),
            spectra=self.spectra[chosen],
            split=self.split[chosen],
            crystals=None if self.crystals is None else self.crystals.take(chosen),
        )

    def part(self, split: str) -> LabelledSpectra:
        """The materials of one split."""
        return self.take(np.flatnonzero(self.split == split))


def concatenate(parts: list[LabelledSpectra], name: str) -> LabelledSpectra:
    """Join data sets on the same grid."""
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    kept = [part.crystals for part in parts if part.crystals is not None]
    return LabelledSpectra(
        name=name,
        material_ids=np.concatenate([part.material_ids for part in parts]),
        formulas=np.concatenate([part.formulas for part in parts]),
        graphs=CrystalGraphs.concatenate([part.graphs for part in parts]),
        spectra=np.concatenate([part.spectra for part in parts]),
        split=np.concatenate([part.split for part in parts]),
        grid=parts[0].grid,
        sources=_joined_sources(parts),
        dropped=dict(dropped),
        crystals=None if len(kept) < len(parts) else Crystals.concatenate(kept),
    )


def _joined_sources(parts: list[LabelledSpectra]) -> dict[str, str]:
    """Hashes of all files; of files with the same name, one gets the start of its hash appended."""
    joined: dict[str, str] = {}
    for part in parts:
        for name, digest in part.sources.items():
            taken = joined.get(name, digest) != digest
            joined[f"{name}-{digest[:8]}" if taken else name] = digest
    return joined


def assemble_spectra(
    name: str,
    crystals: Crystals,
    formulas: NDArray[np.object_],
    spectra: NDArray[np.floating],
    split: NDArray[np.object_],
    grid: SpectralGrid,
    graph_settings: GraphSettings,
    sources: dict[str, str],
) -> LabelledSpectra:
    """Make graphs and drop unusable materials, counting the reasons.

    Parameters
    ----------
    name, formulas, split, grid, sources
        As in `LabelledSpectra`.
    crystals
        The crystals, n of them.
    spectra
        Spectra per atom on the grid, shape (n, size).
    graph_settings
        How graphs are made.
    """
    _check_splits(crystals, split)
    graphs, problems = build_graphs(crystals, graph_settings, descriptor_cache(PredictionSettings()))
    unnamed = "The row has no material_id."
    reasons = [
        problem or _label_problem(row) or (None if name else unnamed)
        for problem, row, name in zip(problems, spectra, crystals.material_ids, strict=True)
    ]
    usable = np.flatnonzero([reason is None for reason in reasons])
    data = LabelledSpectra(
        name=name,
        material_ids=crystals.material_ids,
        formulas=formulas,
        graphs=graphs,
        spectra=spectra.astype(np.float32),
        split=split,
        grid=grid,
        sources=sources,
        dropped=dict(Counter(filter(None, reasons))),
        crystals=crystals,
    )
    return data.take(usable)


def _check_splits(crystals: Crystals, split: NDArray[np.object_]) -> None:
    """Refuse a material in two splits, which would be both trained and tested on; raises `DataError`."""
    splits: dict[str, object] = {}
    for name, its_split in zip(crystals.material_ids, split, strict=True):
        if name and splits.setdefault(name, its_split) != its_split:
            raise DataError(f"{name} is listed twice, in the splits {splits[name]} and {its_split}; keep one of them.")


def hash_of(path: Path) -> dict[str, str]:
    """Name of a file, or of a folder of tables, to the hash of its content."""
    if path.is_dir():
        hashes = "".join(file_sha256(table) for table in sorted(path.glob("*.parquet")))
        return {path.name: hashlib.sha256(hashes.encode()).hexdigest()}
    return {path.name: file_sha256(path)}


def _label_problem(spectrum: NDArray[np.floating]) -> str | None:
    if not (np.abs(spectrum) < np.finfo(np.float32).max).all():
        return "The spectrum contains non-finite numbers."
    if spectrum.min() < 0:
        return "The spectrum has negative values."
    if spectrum.sum() == 0:
        return "The spectrum is zero everywhere."
    return None


def stack_column(table: pa.Table, column: str, grid: SpectralGrid) -> NDArray[np.float64]:
    """Lists of a column as rows on a grid; `SpectralGrid.check` refuses other lengths."""
    kind = table.schema.field(column).type
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise TypeError(f"{kind} where real numbers belong")
    unknown = np.full(grid.size, np.nan)
    rows = [unknown if row is None else np.asarray(row, dtype=np.float64) for row in table[column].to_numpy()]
    spectra = np.stack(rows) if rows else np.empty((0, grid.size))
    grid.check(spectra)
    return spectra
