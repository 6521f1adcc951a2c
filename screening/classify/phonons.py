"""Properties that follow from phonon densities of states, for many materials at once.

Every mode is a harmonic oscillator at the volume of the given cell: no thermal expansion, no electrons.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Composition

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import PHDOS_GRID, SpectralGrid
from mat2spec.spectra.phonons import (
    GAS_CONSTANT_J_PER_MOL_K,
    KELVIN_PER_CM1,
    MEV_PER_CM1,
    MODES_PER_ATOM,
    acoustic_optic_gap,
    debye_temperature,
    deviation_of_average,
    einstein_function,
    entropy,
    entropy_function,
    heat_capacity,
    highest_frequency,
    mean_frequency,
    zero_point_energy,
)
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column

ROOM_TEMPERATURE_K = 300.0
# Of the heat capacity as a function of temperature.
TEMPERATURES_K = tuple(float(value) for value in range(50, 1001, 50))

# Columns of predictions that mean nothing beside phonons.
_NOT_KEPT = (Column.SCALE_STATES, Column.RELATIVE_ERROR, Column.DOMAIN_DISTANCE)


def derive_phonon_properties(
    spectra: NDArray[np.floating],
    sizes: CellSizes,
    atoms_per_formula: NDArray[np.integer],
    uncertainty: NDArray[np.floating] | None = None,
    grid: SpectralGrid = PHDOS_GRID,
) -> pd.DataFrame:
    """Derive properties from phonon densities of states.

    Parameters
    ----------
    spectra
        In any unit, shape (n, grid.size); NaN where there is none.
    sizes
        Of the cells.
    atoms_per_formula
        Atoms of the reduced formulas, shape (n,): `atoms_per_formula_unit`.
    uncertainty
        Standard deviations of the bins in the unit of the spectra; without it their columns are null.
    grid
        The grid of the spectra.

    Returns
    -------
    pandas.DataFrame
        One row per spectrum in the same order, columns `screening.runs.schemas.PHONON_COLUMNS`, whose definitions
        `Column` holds; null without a spectrum. Errors of bins are taken as independent.
    """
    grid.check(spectra)
    values = np.asarray(spectra, dtype=np.float64)
    values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
    errors = np.full(values.shape, np.nan) if uncertainty is None else np.asarray(uncertainty, dtype=np.float64)
    frequencies = grid.centers
    ratios = KELVIN_PER_CM1 * frequencies / ROOM_TEMPERATURE_K
    per_mole = MODES_PER_ATOM * GAS_CONSTANT_J_PER_MOL_K
    at_room = heat_capacity(frequencies, values, 1.0, ROOM_TEMPERATURE_K)
    debye = debye_temperature(frequencies, values)
    # theta = c sqrt(m) of the mean square m has the deviation c^2 dm / (2 theta).
    of_square = 5 / 6 * KELVIN_PER_CM1**2 * deviation_of_average(frequencies**2, values, errors)
    curve = np.stack([heat_capacity(frequencies, values, 1.0, kelvin) for kelvin in TEMPERATURES_K], axis=1)
    known = np.isfinite(at_room)
    of_mean = MODES_PER_ATOM / 2 * MEV_PER_CM1 * deviation_of_average(frequencies, values, errors)
    columns = {
        Column.HEAT_CAPACITY_300K: at_room,
        Column.HEAT_CAPACITY_300K_STD: per_mole * deviation_of_average(einstein_function(ratios), values, errors),
        Column.HEAT_CAPACITY_300K_FORMULA: at_room * atoms_per_formula,
        Column.HEAT_CAPACITY_CURVE: _lists(curve, known),
        Column.TEMPERATURES: _lists(np.tile(TEMPERATURES_K, (len(values), 1)), known),
        Column.ENTROPY_300K: entropy(frequencies, values, ROOM_TEMPERATURE_K),
        Column.ENTROPY_300K_STD: per_mole * deviation_of_average(entropy_function(ratios), values, errors),
        Column.ZERO_POINT_ENERGY: zero_point_energy(frequencies, values),
        Column.ZERO_POINT_ENERGY_STD: of_mean,
        Column.DEBYE_TEMPERATURE: debye,
        Column.DEBYE_TEMPERATURE_STD: np.divide(of_square, debye, out=np.full(len(debye), np.nan), where=debye > 0),
        Column.MEAN_FREQUENCY: mean_frequency(frequencies, values),
        Column.HIGHEST_FREQUENCY: highest_frequency(grid, values),
        Column.ACOUSTIC_OPTIC_GAP: acoustic_optic_gap(grid, values, sizes.n_primitive),
    }
    return pd.DataFrame(columns)


def atoms_per_formula_unit(elements: ElementCounts) -> NDArray[np.int64]:
    """Atoms of the reduced formula of each crystal, shape (n,); 0 for one without sites."""
    formulas = elements.reduced_formulas()
    return np.array([round(Composition(text).num_atoms) if text else 0 for text in formulas], dtype=np.int64)


def _lists(values: NDArray[np.float64], known: NDArray[np.bool_]) -> pd.Series:
    """Rows of numbers, None where there are none."""
    return pd.Series(
        [row.tolist() if is_known else None for row, is_known in zip(values, known, strict=True)], dtype=object
    )


def phonon_rows(prediction: Prediction, crystals: Crystals) -> pd.DataFrame:
    """Predicted phonon spectra of crystals and what follows from them: the rows of the table `phonons`."""
    formulas = atoms_per_formula_unit(ElementCounts.from_crystals(crystals))
    sizes = CellSizes.of_crystals(crystals)
    derived = derive_phonon_properties(prediction.spectra, sizes, formulas, prediction.uncertainty, prediction.grid)
    table = prediction.to_frame().rename(columns={str(Column.UNCERTAINTY): str(Column.PHDOS_UNCERTAINTY)})
    return pd.concat([table.drop(columns=list(_NOT_KEPT)), derived], axis=1)
