import numpy as np
import pytest

from mat2spec.tight_binding.parameters import load_tables
from scripts.tight_binding_parameters.atoms import HARTREE_EV, RADII, Confinement, basis_atom, hubbard_u, solve_atom
from scripts.tight_binding_parameters.elements import ELEMENTS, occupation, valence_electrons, valence_shells

# Kotochigova et al., Phys. Rev. A 55, 191 (1997): LDA, non-relativistic, Hartree. Their correlation is that of Vosko, Wilk
# and Nusair, which differs by a few tenths of a milli-Hartree.
PUBLISHED_LEVELS = [
    (1, (1, 0), -0.233471),
    (2, (1, 0), -0.570425),
    (10, (2, 0), -1.322809),
    (10, (2, 1), -0.498034),
    (18, (3, 0), -0.883384),
    (18, (3, 1), -0.382330),
]


@pytest.mark.parametrize(("atomic_number", "shell", "level"), PUBLISHED_LEVELS)
def test_levels_of_atoms_are_the_published_ones(atomic_number, shell, level):
    atom = solve_atom(atomic_number, relativistic=False)
    assert atom.levels[shell] == pytest.approx(level, abs=5e-4)


def test_density_holds_the_electrons():
    atom = solve_atom(26)
    electrons = (atom.grid.weights * 4 * np.pi * atom.grid.r**2 * atom.density).sum()
    assert electrons == pytest.approx(26, abs=1e-8)


def test_relativity_lowers_the_6s_level_of_gold_and_raises_its_5d_level():
    with_it, without = solve_atom(79), solve_atom(79, relativistic=False)
    assert with_it.levels[6, 0] < without.levels[6, 0] - 0.04
    assert with_it.levels[5, 2] > without.levels[5, 2] + 0.02


def test_basis_functions_are_normalised_and_confined():
    atom = basis_atom(14, Confinement())
    step = np.diff(RADII)
    for radial in atom.functions:
        density = RADII**2 * radial**2
        assert ((density[1:] + density[:-1]) / 2 * step).sum() == pytest.approx(1, abs=1e-3)
    assert (atom.confined_levels > atom.free_levels).all()


def test_every_atom_has_its_electrons_in_core_and_basis():
    for number in ELEMENTS:
        assert sum(occupation(number).values()) == number
        assert 0 < valence_electrons(number) <= 2 * sum(2 * l + 1 for l in valence_shells(number))


def test_shipped_tables_are_made_by_this_script():
    tables = load_tables()
    row = int(tables.element_indices(np.array([8]))[0])
    assert tables.hubbard_u_ev[row] == pytest.approx(hubbard_u(8) * HARTREE_EV, rel=1e-4)
    assert tables.on_site_ev[row, :2] == pytest.approx(
        basis_atom(8, Confinement()).free_levels[:2] * HARTREE_EV, rel=1e-6
    )
