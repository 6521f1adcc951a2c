"""Numbers of the transport of tight-binding bands, as they stand in tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.columns import TRANSPORT_COLUMNS, Column
from mat2spec.tight_binding.predictor import TightBindingPredictor
from mat2spec.tight_binding.transport import BandTransport

# Carriers per cubic centimetre of doped semiconductors, negative for holes.
_SEEBECK_OF = {
    Column.SEEBECK_N_1E19: 1e19,
    Column.SEEBECK_P_1E19: -1e19,
    Column.SEEBECK_N_1E20: 1e20,
    Column.SEEBECK_P_1E20: -1e20,
}
_MASS_OF = {Column.ELECTRON_MASS: 1e19, Column.HOLE_MASS: -1e19}


def describe_transport(transport: BandTransport) -> dict[Column, float]:
    """The numbers of `TRANSPORT_COLUMNS`; NaN where one does not apply."""
    numbers = dict.fromkeys(TRANSPORT_COLUMNS, math.nan)
    numbers[Column.BANDS_GAP_EV] = transport.filling.gap_ev
    metal = transport.metallic()
    if metal is None:
        doped = {carriers: transport.doped(carriers) for carriers in _SEEBECK_OF.values()}
        seebeck = {name: doped[carriers] for name, carriers in _SEEBECK_OF.items()}
        numbers |= {name: each.coefficients.mean_seebeck_uv_per_k for name, each in seebeck.items() if each}
        masses = {name: doped[carriers] for name, carriers in _MASS_OF.items()}
        return numbers | {name: each.mass for name, each in masses.items() if each}
    numbers[Column.BANDS_SEEBECK] = metal.mean_seebeck_uv_per_k
    numbers[Column.PLASMA_ENERGY] = metal.plasma_energy_ev
    carriers = transport.free_carriers_per_cm3()
    if carriers is not None:
        numbers[Column.BANDS_CARRIERS] = carriers
        numbers[Column.CONDUCTIVITY_MASS] = metal.mass(abs(carriers))
    return numbers


def transport_table(crystals: Crystals, predictor: object) -> pd.DataFrame:
    """One row for each crystal whose bands can be solved, in order; one to four seconds each for small cells.

    Parameters
    ----------
    crystals
        Any crystals.
    predictor
        From `mat2spec.load_predictor`; one that is not tight binding gives no rows.

    Returns
    -------
    DataFrame
        `material_id`, `model`, the columns of `TRANSPORT_COLUMNS` and `weights_hash`.
    """
    columns = [str(name) for name in (Column.MATERIAL_ID, Column.MODEL, *TRANSPORT_COLUMNS, Column.WEIGHTS_HASH)]
    if not isinstance(predictor, TightBindingPredictor):
        return pd.DataFrame(columns=columns)
    rows = []
    for index in np.flatnonzero([problem is None for problem in predictor.problems_of(crystals)]).tolist():
        transport = predictor.transport(crystals, index)
        if transport is not None:
            name = {Column.MATERIAL_ID: str(crystals.material_ids[index]), Column.MODEL: predictor.name}
            rows.append(name | describe_transport(transport) | {Column.WEIGHTS_HASH: predictor.weights_hash})
    return pd.DataFrame(rows, columns=columns)
