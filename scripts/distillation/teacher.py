"""Spectra of tight binding with spin for a population: what a fast student learns from."""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mat2spec.faults import CRYSTAL_FAULTS
from mat2spec.models.checkpoints import weights_name
from mat2spec.settings import SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.normalisation import Setting
from mat2spec.tight_binding.model import predicted_spectrum
from mat2spec.tight_binding.predictor import MODEL_NAME_WITH_SPIN, load_tight_binding
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from scripts.distillation.population import Population
from scripts.distillation.sites import Sites

# Fewer points of the mesh than in a prediction: the student learns from tens of thousands of crystals.
KPOINTS_PER_ATOM = 120.0
# Atoms of the primitive cell up to which every training crystal is taught; of larger ones, a sixth comes early.
SMALL, LARGEST = 16, 24
_HELD_OUT = {"valid": 1500, "test_random": 1500, "test_prototype": 800, "calibration": 700}
_PER_TASK = 8


class Taught(NamedTuple):
    """What the teacher says of one crystal: its place in the population, spectrum per atom, gap, share of metal members."""

    index: int
    spectrum: NDArray[np.float16]
    band_gap_ev: float
    metal_share: float


def teaching_order(sites: Sites, split: NDArray[np.str_], seed: int = 0) -> NDArray[np.int64]:
    """Crystals in the order in which they are taught: what is cheap first, at random, with some held out to judge."""
    rng = np.random.default_rng(seed)
    size = np.diff(sites.offsets)
    train = (size > 0) & (split == "train")
    small = np.flatnonzero(train & (size <= SMALL))
    large = rng.permutation(np.flatnonzero(train & (size > SMALL) & (size <= LARGEST)))
    held_out = [
        rng.permutation(np.flatnonzero((size > 0) & (size <= 20) & (split == name)))[:n]
        for name, n in _HELD_OUT.items()
    ]
    early = len(large) // 6
    return np.concatenate([rng.permutation(np.concatenate([small, large[:early], *held_out])), large[early:]])


class _Teacher:
    """Lives once in every process."""

    current: _Teacher

    def __init__(self, folder: Path, stop_at: float) -> None:
        torch.set_num_threads(1)
        name = weights_name(MODEL_NAME_WITH_SPIN, "edos", Setting.SUMNORM_KL)
        self.model = load_tight_binding(SHIPPED_WEIGHTS_DIR / name).model
        self.sites, self.stop_at = Sites.load(folder), stop_at
        self.preparation = PreparationSettings(KPOINTS_PER_ATOM, spin=True, dtype=torch.complex64)

    @torch.no_grad()
    def teach(self, index: int) -> Taught | None:
        """None for a crystal whose bands cannot be computed."""
        cell = self.sites.cells[index]
        assert cell is not None
        try:
            descriptors = torch.from_numpy(self.sites.descriptors_of(index))
            answer = self.model(prepare(cell, self.preparation), descriptors)
        except (torch.linalg.LinAlgError, *CRYSTAL_FAULTS):
            return None
        mean = predicted_spectrum(answer, self.model.grid)
        spectrum = (mean.shape * mean.total).numpy().astype(np.float16)
        return Taught(index, spectrum, answer.band_gap_ev, answer.metal_share)


def _begin(folder: Path, stop_at: float) -> None:
    _Teacher.current = _Teacher(folder, stop_at)


def _teach(chosen: list[int]) -> list[Taught]:
    teacher = _Teacher.current
    rows = [teacher.teach(index) for index in chosen if time.time() < teacher.stop_at]
    return [row for row in rows if row is not None]


def main() -> None:
    """Teach for so many seconds and write what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("population", type=Path)
    parser.add_argument("folder", type=Path, help="with the described sites")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    order = teaching_order(Sites.load(given.folder), Population.load(given.population).split).tolist()
    tasks = [order[start : start + _PER_TASK] for start in range(0, len(order), _PER_TASK)]
    rows: list[Taught] = []
    with get_context("spawn").Pool(given.processes, _begin, (given.folder, time.time() + given.seconds)) as pool:
        for found in pool.imap_unordered(_teach, tasks):
            rows += found
    rows.sort(key=lambda row: row.index)
    np.savez_compressed(
        given.out,
        index=np.array([row.index for row in rows], dtype=np.int32),
        spectra=np.stack([row.spectrum for row in rows]),
        band_gap_ev=np.array([row.band_gap_ev for row in rows], dtype=np.float16),
        metal_share=np.array([row.metal_share for row in rows], dtype=np.float16),
    )
    print(f"{len(rows)} of {len(order)} crystals")


if __name__ == "__main__":
    main()
