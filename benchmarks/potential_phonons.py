"""Phonons from the force constants of SevenNet alone and mixed with the spectra of a network: which share is best.

    OMP_NUM_THREADS=1 python benchmarks/potential_phonons.py DATA [--version 7net-l3i5] [--model sitedos] [--crystals N]

The validation materials of the published split choose the share, the test materials judge it, at the structures as given.
Neither Born charges nor spectra enter. What was computed is kept in the cache of descriptors and not computed again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flows.stages.predictors import load_one
from mat2spec.crystals.arrays import Crystals
from mat2spec.descriptors.kinds import SevenNetVersion
from mat2spec.force_constants.harmonic import spectrum_of_modes
from mat2spec.force_constants.potential import VERSION, modes_by_potential
from mat2spec.force_constants.predictor import spectrum_of_potential
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_phdos
from mat2spec.labels.splits import Split
from mat2spec.settings import PredictionSettings
from mat2spec.spectra.grids import PHDOS_GRID
from mat2spec.spectra.metrics import normalise_sum, r2_score, wasserstein_distances
from mat2spec.spectra.phonons import mean_frequency
from mat2spec.tables.array_cache import descriptor_cache

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)


def figures(true: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    """R2 with three modes per atom, Wasserstein distance and mean error of the mean frequency."""
    distance = wasserstein_distances(true, predicted, PHDOS_GRID).mean()
    means = [mean_frequency(PHDOS_GRID.centers, spectra) for spectra in (true, predicted)]
    return f"{r2_score(true, predicted):.3f} | {distance:.2f} | {np.abs(means[0] - means[1]).mean():.2f}"


def spectra_of_network(crystals: Crystals, model: str) -> NDArray[np.float64]:
    """Spectra of a network with the shipped weights that sum to one."""
    predictor = load_one(model, PredictionSettings(device="cpu"), PHDOS_GRID.name)
    return normalise_sum(predictor.predict(crystals).spectra)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--version", type=SevenNetVersion, default=VERSION)
    parser.add_argument("--model", default="sitedos")
    parser.add_argument("--crystals", type=int, help="only so many random ones of each set")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_phdos(given.data, GraphSettings(), pretraining=False)
    assert data.crystals is not None
    for split in (Split.VALID, Split.TEST):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(data.split == split))[: given.crystals]
        crystals, true = data.crystals.take(rows), normalise_sum(data.spectra[rows])
        found = modes_by_potential(crystals, descriptor_cache(PredictionSettings()), given.version)
        known = np.array([not isinstance(one, str) for one in found])
        network = spectra_of_network(crystals, given.model)[known]
        modes = [one for one in found if not isinstance(one, str)]
        own = np.array([spectrum_of_modes(one) for one in modes])
        scaled = np.array([spectrum_of_potential(*both) for both in zip(modes, network, strict=True)])
        print(f"\n{split}: {known.sum()} of {len(known)} materials have force constants\n")
        print(
            f"| share of {given.version} in the mean with {given.model} | R2 (3N) | WD / cm-1 | mean frequency / cm-1 | "
            "frequencies scaled: R2 (3N) | WD / cm-1 | mean frequency / cm-1 |\n" + "|---" * 7 + "|"
        )
        for share in SHARES:
            mixed = [share * one + (1 - share) * network for one in (own, scaled)]
            print(f"| {share:g} | " + " | ".join(figures(true[known], one) for one in mixed) + " |")


if __name__ == "__main__":
    main()
