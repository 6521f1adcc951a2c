"""Spectra of the training labels, recomputed from their stored bands; needs MAT2SPEC_DATA_DIR."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dft_validation.bands.cells import choose_mesh, prepare_cell
from dft_validation.bands.mesh import MeshBands, edos_of_bands, find_band_edges
from mat2spec.crystals.cell import Cell

DATA = Path(os.environ.get("MAT2SPEC_DATA_DIR", "/nowhere")) / "edos_pbe.parquet"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="MAT2SPEC_DATA_DIR names no folder with edos_pbe.parquet")


@pytest.fixture(scope="module")
def labels():
    return pd.read_parquet(DATA).iloc[::20]


def bands_of(row):
    return MeshBands(
        energies_ev=row.bands.reshape(1, -1, row.n_bands).astype(float),
        irreducible_of_kpoint=row.ibz_of_kpoint.astype(int),
        mesh=tuple(int(n) for n in row.kpoints),
        lattice=row.lattice.reshape(3, 3).astype(float),
        efermi=0.0,
        n_electrons=float(row.n_valence_electrons),
    )


def test_bins_and_gaps_are_those_of_the_labels(labels):
    for row in labels.itertuples():
        bands = bands_of(row)
        # Bands are stored in single precision: 1e-6 eV, which a steep DOS turns into 1e-4 states/eV.
        np.testing.assert_allclose(edos_of_bands(bands, 0.0, 3), row.edos, atol=2e-4, err_msg=row.formula)
        edges = find_band_edges(bands, 0.05)
        assert edges.is_metal == row.is_metal
        assert edges.band_gap == pytest.approx(row.band_gap, abs=1e-4)


def test_meshes_are_those_of_the_labels(labels):
    for row in labels.itertuples():
        cell = Cell(
            row.lattice.reshape(3, 3).astype(float),
            row.frac_coords.reshape(-1, 3).astype(float),
            row.atomic_numbers.astype(int),
        )
        density = 600 if '"kppra": 600' in row.settings else 350
        assert choose_mesh(prepare_cell(cell, 0.01), density) == tuple(row.kpoints)
