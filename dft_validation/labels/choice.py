"""Order of labelling: random, spread over chemistry, likely gapped metals first, or most uncertain first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import gcd

import numpy as np
import spglib
from numpy.typing import NDArray

from dft_validation.labels.pool import Pool, element_matrix
from dft_validation.settings import LabelChoice, LabelSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import symbols
from mat2spec.crystals.primitive import count_primitive_sites
from mat2spec.prediction import load_predictor
from mat2spec.settings import PredictionSettings
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column
from screening.classify.gaps import GapSettings, classify_spectra

Uncertainty = Callable[[Crystals], NDArray[np.floating]]
# Charges of elements with one usual oxidation state alongside the anions of `LabelSettings.electronegative_anions`.
_USUAL_CHARGE = (
    dict.fromkeys(("F", "Cl", "Br", "I"), -1)
    | dict.fromkeys(("O", "S", "Se"), -2)
    | {"N": -3}
    | dict.fromkeys(("Li", "Na", "K", "Rb", "Cs"), 1)
    | dict.fromkeys(("Be", "Mg", "Ca", "Sr", "Ba", "Zn", "Cd"), 2)
    | dict.fromkeys(("B", "Al", "Ga", "In", "Sc", "Y", "La", "Lu"), 3)
    | dict.fromkeys(("Si", "Ge", "Ti", "Zr", "Hf"), 4)
    | dict.fromkeys(("Nb", "Ta"), 5)
    | {"W": 6}
)
_SYMMETRY_TOLERANCE_A = 0.01


def choose(
    pool: Pool, settings: LabelSettings, labels_per_element: NDArray[np.floating], uncertainty: Uncertainty
) -> Iterator[int]:
    """Rows of the pool in the order of preference; the same pool and settings give the same order.

    Parameters
    ----------
    pool
        The crystals to choose from.
    settings
        `choice`, `seed`, `one_per_formula`.
    labels_per_element
        Existing labels, by atomic number, shape (119,).
    uncertainty
        Relative uncertainty of the prediction for each crystal, NaN where there is none; called only for that choice.
    """
    rng = np.random.default_rng(settings.seed)
    if settings.choice is LabelChoice.RANDOM:
        order: Iterator[int] = iter(rng.permutation(len(pool)).tolist())
    elif settings.choice is LabelChoice.UNCERTAINTY:
        order = by_falling(uncertainty(pool.crystals))
    else:
        gapped = settings.choice is LabelChoice.GAPPED
        rows = np.flatnonzero(likely_gapped_metals(pool.crystals, settings.electronegative_anions)) if gapped else None
        order = spread_over_elements(element_matrix(pool.crystals), labels_per_element, rng, rows)
    return _one_per_formula(order, pool) if settings.one_per_formula else order


def spread_over_elements(
    elements: NDArray[np.bool_],
    labels_per_element: NDArray[np.floating],
    rng: np.random.Generator,
    rows: NDArray[np.integer] | None = None,
) -> Iterator[int]:
    """Repeatedly take the crystal whose elements have the fewest labels on average; ties are broken at random.

    Parameters
    ----------
    elements
        Elements of each crystal, shape (n, 119).
    labels_per_element
        Labels to begin with, shape (119,).
    rng
        Breaks ties.
    rows
        Rows to choose from; all by default.
    """
    left = rng.permutation(len(elements) if rows is None else rows)
    members = elements[left].astype(np.float64)
    shares = members / np.maximum(members.sum(axis=1, keepdims=True), 1)
    counts = np.array(labels_per_element, dtype=np.float64)
    means = shares @ counts
    for _ in range(len(left)):
        best = int(means.argmin())
        # Only the counts of this crystal's elements grow, each by one.
        means += shares @ members[best]
        means[best] = np.inf
        yield int(left[best])


def likely_gapped_metals(crystals: Crystals, anions: tuple[str, ...]) -> NDArray[np.bool_]:
    """Crystals with an electronegative anion and an odd number of electrons in the primitive cell, shape (n,).

    An odd number leaves a band half filled without spin polarisation, hence a metal; an electronegative anion opens
    the gap below it.
    """
    numbers = [number for number, symbol in enumerate(symbols()) if symbol in anions]
    has_anion = element_matrix(crystals)[:, numbers].any(axis=1)
    rows = np.flatnonzero(has_anion)
    odd = np.zeros(len(crystals), dtype=np.bool_)
    odd[rows] = [_has_odd_electrons(crystals, int(row)) for row in rows]
    return odd


def has_free_electrons(crystals: Crystals) -> NDArray[np.bool_]:
    """Crystals of elements with one usual charge whose cations give more electrons than the anions take, shape (n,).

    The remaining electrons fill the bottom of a band above the gap over the anion band, e.g. in BaNbO3 or Ba2N.
    """
    charges = np.array([float(_USUAL_CHARGE.get(symbol, np.nan)) for symbol in symbols()])
    totals = np.add.reduceat(np.append(charges[crystals.atomic_numbers], 0.0), crystals.offsets[:-1])
    negative = np.flatnonzero(charges < 0)
    return element_matrix(crystals)[:, negative].any(axis=1) & (totals > 0)


def _has_odd_electrons(crystals: Crystals, row: int) -> bool:
    numbers = crystals.atomic_numbers[crystals.sites(row)]
    electrons = int(numbers.sum())
    if electrons % 2:
        return True
    # The number of primitive cells divides every element's count: if that leaves only one, spglib is not needed.
    most = gcd(*np.unique(numbers, return_counts=True)[1].tolist())
    if (electrons // most) % 2 == 0:
        return False
    return bool((electrons * _n_primitive_atoms(crystals, row) // len(numbers)) % 2)


def _n_primitive_atoms(crystals: Crystals, row: int) -> int:
    found = spglib.find_primitive(crystals.cell(row).as_tuple(), symprec=_SYMMETRY_TOLERANCE_A)
    return int(crystals.n_sites[row]) if found is None else len(found[2])


def by_falling(values: NDArray[np.floating]) -> Iterator[int]:
    """Rows by decreasing value, those without one last; ties by row."""
    return iter(np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable").tolist())


def _one_per_formula(order: Iterator[int], pool: Pool) -> Iterator[int]:
    taken: set[str] = set()
    for row in order:
        if pool.formulas[row] not in taken:
            taken.add(pool.formulas[row])
            yield row


def gapped_confidence(settings: PredictionSettings, rule: GapSettings) -> Callable[[Crystals], NDArray[np.floating]]:
    """Mean confidence of the models that a crystal is a gapped metal, NaN if any of them has none."""

    def of_crystals(crystals: Crystals) -> NDArray[np.floating]:
        confidences, n_primitive = [], count_primitive_sites(crystals)
        for model in settings.models:
            spectra = _predict(model, settings, crystals).spectra
            classes = classify_spectra(spectra, EDOS_GRID, rule, crystals.n_sites, n_primitive)
            confidences.append(classes[Column.GAPPED_METAL_CONFIDENCE].to_numpy(dtype=np.float64, na_value=np.nan))
        return np.mean(confidences, axis=0)

    return of_crystals


def relative_uncertainty(settings: PredictionSettings) -> Uncertainty:
    """Expected relative error of the first model's predictions (`mat2spec.prediction.Prediction.relative_error`)."""

    def of_crystals(crystals: Crystals) -> NDArray[np.floating]:
        return _predict(settings.models[0], settings, crystals).relative_error

    return of_crystals


def _predict(model: str, settings: PredictionSettings, crystals: Crystals) -> Prediction:
    predictor = load_predictor(
        model,
        weights_dir=settings.weights_dir,
        device=settings.device,
        max_edges_per_batch=settings.max_edges_per_batch,
    )
    return predictor.predict(crystals)
