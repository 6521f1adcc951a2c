from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import ElementCounts
from mat2spec.crystals.primitive import CellSizes
from mat2spec.spectra.grids import PHDOS_GRID
from screening.classify.phonons import atoms_per_formula_unit, derive_phonon_properties
from screening.runs.schemas import PHONON_COLUMNS

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def spectra_of(n_sites):
    spectrum = np.exp(-(((PHDOS_GRID.centers - 200) / 60) ** 2))
    return (spectrum / PHDOS_GRID.integrate(spectrum) * 3 * n_sites)[None]


def test_a_supercell_has_the_properties_of_its_cell():
    cells = Crystals.from_structures([SALT.get_primitive_structure(), SALT])
    sizes, formulas = CellSizes.of_crystals(cells), atoms_per_formula_unit(ElementCounts.from_crystals(cells))
    assert formulas.tolist() == [2, 2]
    spectra = np.concatenate([spectra_of(2), spectra_of(8)])
    found = derive_phonon_properties(spectra, sizes, formulas, 0.1 * spectra)
    assert list(found.columns) == list(PHONON_COLUMNS)
    for name in found.select_dtypes("float"):
        assert found[name][0] == pytest.approx(found[name][1], rel=1e-6), name
    first = found.iloc[0]
    assert first.heat_capacity_300k_j_per_mol_formula_k == pytest.approx(2 * first.heat_capacity_300k_j_per_mol_atoms_k)
    assert first.temperatures_k[5] == 300.0
    assert first.heat_capacity_j_per_mol_atoms_k[5] == pytest.approx(first.heat_capacity_300k_j_per_mol_atoms_k)
    assert np.all(np.diff(first.heat_capacity_j_per_mol_atoms_k) > 0)
    assert 0 < first.heat_capacity_300k_j_per_mol_atoms_k_std < 1
    assert first.debye_temperature_k_std > 0


def test_what_was_not_predicted_has_no_properties():
    sizes = CellSizes(np.array([2]), np.array([2]), np.array([40.0]))
    row = derive_phonon_properties(np.full((1, 51), np.nan), sizes, np.array([2])).iloc[0]
    assert row.isna().all()
