"""Projections of predicted spectra on elements and shells, where the model gives them: tight binding does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_problems
from mat2spec.settings import MOST_PROJECTED
from mat2spec.tight_binding.predictor import TightBindingPredictor
from mat2spec.tight_binding.sites import sum_by_element

Projections = dict[str, dict[str, NDArray[np.float64]]]


def project_spectra(crystals: Crystals, predictor: object, most: int = MOST_PROJECTED) -> Projections:
    """Spectra of the first crystals by element and shell, such as "Ti d", in states/eV per given cell.

    They sum to the predicted spectrum; `mat2spec.tight_binding.sites` says how it is split. A crystal whose bands cannot be
    solved is left out.

    Parameters
    ----------
    crystals
        Any crystals.
    predictor
        From `mat2spec.load_predictor`; one that is not tight binding gives no projections.
    most
        Crystals to project at most.
    """
    found: Projections = {}
    if not isinstance(predictor, TightBindingPredictor):
        return found
    problems = find_problems(crystals)
    for index in range(min(len(crystals), most)):
        by_site = predictor.project(crystals, index) if problems[index] is None else None
        if by_site is not None:
            numbers = crystals.atomic_numbers[crystals.sites(index)]
            found[str(crystals.material_ids[index])] = sum_by_element(by_site, numbers)
    return found
