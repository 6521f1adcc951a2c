"""Phonon spectra as the mean of what a network predicts and what the force constants of a potential give.

A potential is too soft or too hard by much the same factor for all modes of a crystal, and the network knows their mean
frequency better: its mean is given to them. What errors remain have different causes, so that the mean of the two spectra is
better than either. It takes seconds a crystal instead of tenths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.force_constants.harmonic import spectrum_of_modes
from mat2spec.force_constants.potential import VERSION, modes_by_potential
from mat2spec.graphs.from_data import CrystalsOrData, as_crystals
from mat2spec.settings import FORCE_CONSTANTS_MODEL
from mat2spec.spectra.grids import PHDOS_GRID, SpectralGrid
from mat2spec.spectra.phonons import mean_frequency, scale_to_modes
from mat2spec.spectra.prediction import BatchReport, Prediction
from mat2spec.spectra.trust import CrystalFacts, TrustCalibration, judge
from mat2spec.spectrum_predictor import SpectrumPredictor
from mat2spec.tables.array_cache import ArrayCache
from mat2spec.tables.status import Status

# Share of the potential in the mean, and by how much its frequencies are changed at most: the best on the validation materials
# (`benchmarks/potential_phonons.py`).
SHARE, LARGEST_FACTOR = 0.4, 1.1


class ForceConstantsPredictor:
    """Predicts phonon spectra with a network and the force constants of SevenNet.

    Parameters
    ----------
    network
        Its spectra are mixed with those of the potential, and stand alone where that has none.
    """

    name = FORCE_CONSTANTS_MODEL
    grid: SpectralGrid = PHDOS_GRID

    def __init__(self, network: SpectrumPredictor) -> None:
        self.network = network
        # The errors of the mean start from those that the network states, before they are calibrated on held-out labels.
        self.trust_in_network, network.trust = network.trust, None
        identity = f"{network.weights_hash} {VERSION} {SHARE} {LARGEST_FACTOR}"
        self.weights_hash = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.trust: TrustCalibration | None = None

    @property
    def descriptor_cache(self) -> ArrayCache | None:
        """Keeps what the network reads, and the spectra of the potential."""
        return self.network.descriptor_cache

    @descriptor_cache.setter
    def descriptor_cache(self, cache: ArrayCache | None) -> None:
        self.network.descriptor_cache = cache

    def predict(
        self, crystals: CrystalsOrData, on_batch: BatchReport | None = None, facts: CrystalFacts | None = None
    ) -> Prediction:
        """Predict the spectrum of every crystal; one that cannot be predicted gets a reason.

        Parameters
        ----------
        crystals
            Any crystals, also as data of PyTorch Geometric (`mat2spec.graphs.from_data.crystals_from_data`).
        on_batch
            Called with the number of crystals of every finished batch.
        facts
            Of these crystals, where they are known.
        """
        crystals = as_crystals(crystals)
        facts = facts or CrystalFacts.of(crystals)
        by_network = self.network.predict(crystals, None, facts)
        usable = np.flatnonzero([status == Status.OK for status in by_network.status])
        if on_batch and len(usable) < len(crystals):
            on_batch(len(crystals) - len(usable))
        found = modes_by_potential(reduce_skewed_cells(crystals.take(usable)), self.descriptor_cache, on_batch=on_batch)
        known = [not isinstance(one, str) for one in found]
        both, alone = usable[np.array(known, dtype=bool)], usable[~np.array(known, dtype=bool)]
        spectra = [
            spectrum_of_potential(one, by_network.spectra[row])
            for row, one in zip(usable, found, strict=True)
            if not isinstance(one, str)
        ]
        notes = [f"Predicted by {self.network.name}: {one}." for one in found if isinstance(one, str)]
        mixed = self._mix(by_network, both, self._per_cell(spectra, crystals.n_sites[both]))
        own = judge(by_network, self.trust_in_network, facts).take(alone)
        return judge(mixed, self.trust, facts).with_rows_of(own, alone, notes)

    def _per_cell(self, shapes: Sequence[NDArray[np.float64]], n_sites: NDArray[np.int64]) -> NDArray[np.float64]:
        """Spectra with three modes per atom, shape (n, size)."""
        return scale_to_modes(np.array(shapes).reshape(-1, self.grid.size), self.grid) * n_sites[:, None]

    def _mix(self, by_network: Prediction, rows: NDArray[np.int64], potential: NDArray[np.float64]) -> Prediction:
        """The network's prediction with the mean of both at some rows; how far they differ adds to the error."""
        spectra, uncertainty = by_network.spectra.copy(), by_network.uncertainty.copy()
        relative_error = by_network.relative_error.copy()
        difference = potential - spectra[rows]
        uncertainty[rows] = np.hypot((1 - SHARE) * uncertainty[rows], SHARE * difference)
        apart = np.abs(difference).sum(axis=1) / np.maximum(spectra[rows].sum(axis=1), 1e-12)
        relative_error[rows] = np.hypot((1 - SHARE) * relative_error[rows], SHARE * apart)
        spectra[rows] += SHARE * difference
        return replace(
            by_network,
            spectra=spectra,
            uncertainty=uncertainty,
            relative_error=relative_error,
            scale=self.grid.integrate(spectra).astype(np.float32),
            model=self.name,
            weights_hash=self.weights_hash,
        )


def spectrum_of_potential(shares: NDArray[np.floating], by_network: NDArray[np.floating]) -> NDArray[np.float64]:
    """Spectrum by the potential that sums to one, with the network's mean frequency unless that is too far away.

    Parameters
    ----------
    shares
        Of the modes by the potential, as `harmonic.modes` gives them.
    by_network
        The network's spectrum in any unit, shape (PHDOS_GRID.size,).
    """
    frequencies = PHDOS_GRID.centers
    factor = mean_frequency(frequencies, by_network) / mean_frequency(frequencies, spectrum_of_modes(shares))
    return spectrum_of_modes(shares, float(np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)))
