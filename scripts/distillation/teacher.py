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

from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.faults import CRYSTAL_FAULTS
from mat2spec.models.checkpoints import weights_name
from mat2spec.settings import SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.normalisation import Setting
from mat2spec.tight_binding.model import predicted_spectrum
from mat2spec.tight_binding.network import SiteAnswer
from mat2spec.tight_binding.predictor import MODEL_NAME_WITH_SPIN, load_tight_binding
from mat2spec.tight_binding.problem import PreparationSettings, prepare
from scripts.distillation.population import Population
from scripts.distillation.sites import Sites

# Fewer points of the mesh than in a prediction: the student learns from tens of thousands of crystals.
KPOINTS_PER_ATOM = 120.0
# Atoms of the primitive cell up to which every training crystal is taught; of larger ones, a sixth comes early.
SMALL, LARGEST = 16, 24
_HELD_OUT = {"valid": 1500, "test_random": 1500, "test_prototype": 800, "calibration": 700}
_PER_TASK, _PER_REPORT = 16, 2000


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
        torch.set_flush_denormal(True)
        name = weights_name(MODEL_NAME_WITH_SPIN, "edos", Setting.SUMNORM_KL)
        self.model = load_tight_binding(SHIPPED_WEIGHTS_DIR / name).model
        self.sites, self.stop_at = Sites.load(folder), stop_at
        self.preparation = PreparationSettings(KPOINTS_PER_ATOM, spin=True, dtype=torch.complex64)

    @torch.no_grad()
    def teach(self, chosen: list[int]) -> list[Taught]:
        """Without crystals whose bands cannot be computed."""
        features = [self.sites.descriptors_of(index) for index in chosen]
        numbers = np.concatenate([self._cell(index).atomic_numbers for index in chosen])
        known = self.model.of_sites(torch.from_numpy(np.concatenate(features)), torch.from_numpy(numbers))
        ends = np.cumsum([len(values) for values in features])
        rows = [
            self._solve(index, known.at(slice(end - len(values), end)))
            for index, values, end in zip(chosen, features, ends.tolist(), strict=True)
        ]
        return [row for row in rows if row is not None]

    def _cell(self, index: int) -> PrimitiveCell:
        cell = self.sites.cells[index]
        assert cell is not None
        return cell

    def _solve(self, index: int, sites: SiteAnswer) -> Taught | None:
        try:
            answer = self.model.of_crystal(prepare(self._cell(index), self.preparation), sites)
        except (torch.linalg.LinAlgError, *CRYSTAL_FAULTS):
            return None
        mean = predicted_spectrum(answer, self.model.grid)
        spectrum = (mean.shape * mean.total).numpy().astype(np.float16)
        return Taught(index, spectrum, answer.band_gap_ev, answer.metal_share)


def _begin(folder: Path, stop_at: float) -> None:
    _Teacher.current = _Teacher(folder, stop_at)


def _teach(chosen: list[int]) -> list[Taught]:
    teacher = _Teacher.current
    return teacher.teach(chosen) if time.time() < teacher.stop_at else []


def write_taught(path: Path, rows: list[Taught]) -> None:
    """One compressed file, in the order of the population."""
    rows = sorted(rows, key=lambda row: row.index)
    np.savez_compressed(
        path,
        index=np.array([row.index for row in rows], dtype=np.int32),
        spectra=np.stack([row.spectrum for row in rows]),
        band_gap_ev=np.array([row.band_gap_ev for row in rows], dtype=np.float16),
        metal_share=np.array([row.metal_share for row in rows], dtype=np.float16),
    )


def read_taught(path: Path) -> list[Taught]:
    """What `write_taught` wrote."""
    with np.load(path) as file:
        columns = [file[name].tolist() for name in ("index", "band_gap_ev", "metal_share")]
        spectra: NDArray[np.float16] = file["spectra"]
    return [Taught(index, spectrum, gap, share) for index, gap, share, spectrum in zip(*columns, spectra, strict=True)]


def main() -> None:
    """Teach for so many seconds and write what there is, beside what an earlier call wrote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("population", type=Path)
    parser.add_argument("folder", type=Path, help="with the described sites")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    order = teaching_order(Sites.load(given.folder), Population.load(given.population).split).tolist()
    rows = read_taught(given.out) if given.out.exists() else []
    known = {row.index for row in rows}
    order = [index for index in order if index not in known]
    tasks = [order[start : start + _PER_TASK] for start in range(0, len(order), _PER_TASK)]
    with get_context("spawn").Pool(given.processes, _begin, (given.folder, time.time() + given.seconds)) as pool:
        for found in pool.imap_unordered(_teach, tasks):
            rows += found
            if len(rows) // _PER_REPORT > (len(rows) - len(found)) // _PER_REPORT:
                print(f"{len(rows)} of {len(known) + len(order)}", flush=True)
    write_taught(given.out, rows)
    print(f"{len(rows)} of {len(known) + len(order)} crystals")


if __name__ == "__main__":
    main()
