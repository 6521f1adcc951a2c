"""Small crystals and spectra that several tests of the screening package share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.spectra.grids import EDOS_GRID


def spectrum_with_gap(bottom=-2.5, top=-0.6, level=5.0, floor=0.0, metal=True):
    """A flat DOS with a hole between two energies, and, unless it is a metal, an empty stretch above zero."""
    centers = EDOS_GRID.centers
    spectrum = np.full(EDOS_GRID.size, level)
    spectrum[(centers > bottom) & (centers < top)] = floor
    if not metal:
        spectrum[(centers > 0) & (centers < 1)] = 0.0
    return spectrum


@pytest.fixture(scope="session")
def make_spectrum():
    return spectrum_with_gap


@pytest.fixture
def crystals_table():
    """Five crystals: two cubic oxides, a metal, a cell of two atoms and one with unknown values."""
    cube = np.eye(3).ravel() * 4
    return pa.table(
        {
            "material_id": ["mp-5", "mp-3", "mp-1", "mp-4", "mp-2"],
            "formula": ["SrVO3", "KTaO3", "Al", "NaCl", "TiN"],
            "lattice": [cube.tolist()] * 5,
            "frac_coords": [[0.0] * 15, [0.1] * 15, [0.0] * 3, [0.0] * 3 + [0.5] * 3, [0.0] * 3 + [0.5] * 3],
            "atomic_numbers": [[38, 23, 8, 8, 8], [19, 73, 8, 8, 8], [13], [11, 17], [22, 7]],
            "band_gap": [0.0, 2.1, 0.0, 5.0, None],
            "energy_above_hull": [0.0, 0.0, 0.0, 0.3, None],
        }
    )


@pytest.fixture
def crystals_path(tmp_path, crystals_table):
    path = tmp_path / "crystals.parquet"
    pq.write_table(crystals_table, path, row_group_size=2)
    return path


def classification_rows(*rows):
    """Classifications from tuples of material, model, gapped metal or None, confidence, width."""
    names = ["material_id", "model", "is_gapped_metal", "gapped_metal_confidence", "gap_width_ev"]
    frame = pd.DataFrame(rows, columns=names)
    frame["is_gapped_metal"] = frame["is_gapped_metal"].astype("boolean")
    frame["has_vb_gap"] = frame["is_gapped_metal"]
    frame["is_metal"] = True
    return frame


@pytest.fixture(scope="session")
def make_classifications():
    return classification_rows
