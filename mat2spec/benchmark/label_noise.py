"""Label noise: how much labels of the same materials differ, which sets the ceiling for figures of merit.

Scripts measure it and store it in a small file beside the results of a benchmark, one entry per source of noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.evaluation_edos import FindGappedMetals, edos_contributions
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid
from mat2spec.tables.files import atomic_path

NOISE_FILE = "label_noise.json"


class LabelNoise(BaseModel):
    """One source of noise.

    Its figures are those of the benchmark, of labels with the noise as predictions of labels without.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str = Field(description="What differs between the labels, e.g. k-point densities.", min_length=1)
    how: str = Field(description="Command or source of the figures.", min_length=1)
    n: int = Field(description="Number of materials compared.", ge=1)
    metrics: dict[str, float] = Field(description="Figures by the names of the benchmark, without undefined ones.")


@dataclass(frozen=True)
class ExactLabels:
    """Labels with which others are compared.

    Parameters
    ----------
    spectra
        Spectra per atom, shape (n, size).
    n_atoms
        Atoms in each cell, shape (n,).
    """

    spectra: NDArray[np.float32]
    n_atoms: NDArray[np.int64]
    grid: SpectralGrid = EDOS_GRID


def compare_labels(
    what: str, how: str, noisy: NDArray[np.floating], exact: ExactLabels, find_gapped_metals: FindGappedMetals
) -> LabelNoise:
    """Figures of electronic labels with noise, as if a model had predicted them.

    Parameters
    ----------
    what, how
        See `LabelNoise`.
    noisy
        Spectra per atom with the noise, shape (n, size).
    exact
        The same labels without.
    find_gapped_metals
        Classifier of both.
    """
    scores = edos_contributions(noisy, exact, None, find_gapped_metals).scores()
    known = {name: value for name, value in scores.items() if value is not None}
    return LabelNoise(what=what, how=how, n=len(noisy), metrics=known)


_ENTRIES = TypeAdapter(list[LabelNoise])


def read_label_noise(folder: Path) -> list[LabelNoise]:
    """Entries of the file in a folder, by what differs; none if there is no file.

    Raises
    ------
    BenchmarkError
        If the file is damaged.
    """
    path = folder / NOISE_FILE
    if not path.is_file():
        return []
    try:
        return _ENTRIES.validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise BenchmarkError(
            f"The label noise {path} cannot be read ({error.error_count()} errors, first: {error.errors()[0]['msg']}); "
            "write it again with benchmarks/label_noise.py."
        ) from error


def write_label_noise(folder: Path, entries: Sequence[LabelNoise]) -> Path:
    """Add entries to the file in a folder; those of the same `what` are replaced."""
    known = {entry.what: entry for entry in [*read_label_noise(folder), *entries]}
    path = folder / NOISE_FILE
    content = [known[what].model_dump() for what in sorted(known)]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path
