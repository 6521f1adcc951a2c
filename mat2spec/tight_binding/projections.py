"""Projections of predicted spectra on elements and shells, where the model gives them: tight binding does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.tight_binding.electronic_structure import ElectronicStructure
from mat2spec.tight_binding.predictor import TightBindingPredictor

# Each is solved once more, some tenths of a second.
MOST_PROJECTED = 12

Projections = dict[str, dict[str, NDArray[np.float64]]]


def project_spectra(crystals: Crystals, predictor: object, most: int = MOST_PROJECTED) -> Projections:
    """Densities of the first crystals by element and shell, such as "Ti d", in states/eV per given cell.

    They are those of the bands, before the last step of the model reweights them, so they do not sum exactly to the
    predicted spectrum. A crystal whose bands cannot be solved is left out.

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
    for index in range(min(len(crystals), most)):
        if crystals.n_sites[index] > predictor.max_atoms:
            continue
        structure = crystals.structure(index)
        try:
            bands = ElectronicStructure.of(predictor.model, structure, spin=predictor.spin)
            table = bands.projected_dos() * (len(structure) / len(bands.structure))
        except CRYSTAL_FAULTS as error:
            reason_of_fault(error)  # raises if memory was the fault
            continue
        found[str(crystals.material_ids[index])] = {str(name): table[name].to_numpy() for name in table.columns}
    return found
