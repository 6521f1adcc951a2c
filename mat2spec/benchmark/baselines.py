"""Predictors that know only the composition, as baselines for models of the structure.

They are fitted to the training labels, predict spectra per atom, and classify gapped metals themselves.
Distances between compositions are those of the element mover (Hargreaves et al., Chem. Mater. 32, 10610, 2020): the work
of turning one composition into the other, with the elements on Pettifor's scale.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Composition, Element
from scipy.spatial.distance import cdist

from mat2spec.benchmark.detection import GappedMetals, flag_scores
from mat2spec.crystals.composition import MAX_KNOWN_ATOMIC_NUMBER

FloatArray = NDArray[np.float64]
N_NEIGHBOURS = 10
# Added to distances before they are inverted to weights: one place on the scale of the elements.
NEAR = 1.0
# Larger than the distance between any two compositions.
_OTHER_PARITY = 1e3


class Forecast(NamedTuple):
    """Predictions of a baseline: spectra per atom, shape (n, size), and gapped metals; None if it was not given any."""

    spectra: FloatArray
    gapped_metals: GappedMetals | None


class Baseline(ABC):
    """A predictor that is given formulas."""

    name: ClassVar[str]

    @abstractmethod
    def fit(
        self, formulas: Sequence[str], spectra: NDArray[np.floating], gapped: NDArray[np.bool_] | None = None
    ) -> None:
        """Learn from training labels.

        Parameters
        ----------
        formulas
            Reduced formulas, length n.
        spectra
            Spectra per atom, shape (n, size).
        gapped
            Which are gapped metals, shape (n,); None if unknown.
        """

    @abstractmethod
    def predict(self, formulas: Sequence[str]) -> Forecast:
        """Predict materials."""


class MeanSpectrum(Baseline):
    """Predicts the mean of the training spectra, and the share of gapped metals among them, for every material."""

    name = "mean-spectrum"

    def fit(
        self, formulas: Sequence[str], spectra: NDArray[np.floating], gapped: NDArray[np.bool_] | None = None
    ) -> None:
        """See `Baseline`."""
        del formulas
        self._mean = np.asarray(spectra, np.float64).mean(axis=0)
        self._share = None if gapped is None else float(gapped.mean())

    def predict(self, formulas: Sequence[str]) -> Forecast:
        """See `Baseline`."""
        n = len(formulas)
        found = None if self._share is None else _flagged(np.full(n, self._share), 0.5)
        return Forecast(np.tile(self._mean, (n, 1)), found)


class NearestCompositions(Baseline):
    """Mean over the training materials with the nearest compositions, weighted by 1 / (distance + 1).

    The confidence in a gapped metal is their weighted share; it is flagged above the threshold that has the best F1 on
    the training materials, each left out in turn. Materials at the same distance come in the order of training.

    Parameters
    ----------
    n_neighbours
        Number of neighbours.
    same_parity
        Whether materials whose formula has the same parity of the number of electrons come before all others. One with an
        odd number in its cell has a half-filled band unless it is magnetic.
    """

    def __init__(self, n_neighbours: int, *, same_parity: bool) -> None:
        self.n_neighbours = n_neighbours
        self.same_parity = same_parity

    def fit(
        self, formulas: Sequence[str], spectra: NDArray[np.floating], gapped: NDArray[np.bool_] | None = None
    ) -> None:
        """See `Baseline`."""
        self._places = describe_compositions(formulas)
        self._spectra = np.asarray(spectra, np.float64)
        self._gapped = gapped
        self._threshold = 0.5
        if gapped is not None and len(formulas) > 1:
            apart = self._distances(self._places)
            np.fill_diagonal(apart, np.inf)
            self._threshold = best_threshold(self._share_of_gapped(*self._neighbours(apart)), gapped)

    def predict(self, formulas: Sequence[str]) -> Forecast:
        """See `Baseline`."""
        chosen, weights = self._neighbours(self._distances(describe_compositions(formulas)))
        spectra = np.einsum("ij,ijk->ik", weights, self._spectra[chosen])
        if self._gapped is None:
            return Forecast(spectra, None)
        return Forecast(spectra, _flagged(self._share_of_gapped(chosen, weights), self._threshold))

    def _distances(self, places: Compositions) -> FloatArray:
        distances: FloatArray = cdist(places.cumulative, self._places.cumulative, "cityblock")
        if self.same_parity:
            distances += _OTHER_PARITY * (places.is_odd[:, None] != self._places.is_odd)
        return distances

    def _neighbours(self, distances: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Training rows and their weights, both (n, neighbours)."""
        chosen = np.argsort(distances.round(9), axis=1, kind="stable")[:, : self.n_neighbours]
        weights = 1 / (np.take_along_axis(distances, chosen, axis=1) + NEAR)
        return chosen, weights / weights.sum(axis=1, keepdims=True)

    def _share_of_gapped(self, chosen: NDArray[np.int64], weights: FloatArray) -> FloatArray:
        return np.zeros(len(chosen)) if self._gapped is None else (weights * self._gapped[chosen]).sum(axis=1)


class NearestComposition(NearestCompositions):
    """The spectrum of the training material with the nearest composition."""

    name = "nearest-composition"

    def __init__(self) -> None:
        super().__init__(1, same_parity=False)


class CompositionNeighbours(NearestCompositions):
    """Ten nearest compositions with the same parity of the number of electrons."""

    name = "composition-knn-parity"

    def __init__(self) -> None:
        super().__init__(N_NEIGHBOURS, same_parity=True)


BASELINES: tuple[type[Baseline], ...] = (MeanSpectrum, NearestComposition, CompositionNeighbours)


class Compositions(NamedTuple):
    """Quantities from which distances are computed.

    Parameters
    ----------
    cumulative
        Fraction of atoms up to each position on Pettifor's scale, shape (n, 118).
    is_odd
        Whether the formula has an odd number of electrons, shape (n,).
    """

    cumulative: FloatArray
    is_odd: NDArray[np.bool_]


def describe_compositions(formulas: Sequence[str]) -> Compositions:
    """Positions of formulas on the scale of the elements; the city-block distance of `cumulative` is the element mover's."""
    counts = np.zeros((len(formulas), MAX_KNOWN_ATOMIC_NUMBER))
    odd = np.zeros(len(formulas), dtype=np.bool_)
    for row, formula in enumerate(formulas):
        for element, count in _composition(str(formula)).items():
            counts[row, _place_of_element()[element.Z]] = count
            odd[row] ^= bool(round(element.Z * count) % 2)
    return Compositions(np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1), odd)


def best_threshold(confidence: FloatArray, truth: NDArray[np.bool_]) -> float:
    """The confidence threshold with the best F1, the highest of equal ones; 0.5 if nothing is true.

    Parameters
    ----------
    confidence, truth
        Shape (n,).
    """
    tried = np.unique(confidence[truth])[::-1]
    if not len(tried):
        return 0.5
    once = np.ones((1, len(truth)))
    f1 = [float(flag_scores(confidence >= threshold, truth, once)["f1"][0]) for threshold in tried]
    return float(tried[int(np.argmax(f1))])


def _flagged(confidence: FloatArray, threshold: float) -> GappedMetals:
    return GappedMetals(confidence >= threshold, confidence)


def _composition(formula: str) -> Composition:
    with warnings.catch_warnings():
        # pymatgen warns that noble gases have no electronegativity.
        warnings.simplefilter("ignore", UserWarning)
        return Composition(formula)


@cache
def _place_of_element() -> dict[int, int]:
    """Position on Pettifor's scale by atomic number; elements that are not on it come last."""
    with warnings.catch_warnings():
        # pymatgen warns of each element that is not on the scale, and gives NaN.
        warnings.simplefilter("ignore", UserWarning)
        numbers = [Element.from_Z(z).mendeleev_no for z in range(1, MAX_KNOWN_ATOMIC_NUMBER + 1)]
    order = np.argsort(np.array(numbers, dtype=np.float64), kind="stable")
    return {int(index) + 1: place for place, index in enumerate(order)}
