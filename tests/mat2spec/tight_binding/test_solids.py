"""Bands of the tables alone, without anything learned, against PBE: what they get right and by how much they fail."""

from dataclasses import dataclass

import pytest
import torch
from pymatgen.core import Lattice, Structure

from mat2spec.tight_binding.filling import fill
from mat2spec.tight_binding.problem import PreparationSettings, corrected_bands, prepare
from tests.mat2spec.tight_binding.conftest import primitive, rock_salt, solid, zinc_blende

PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.945), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
)


@dataclass
class Bands:
    gap: float
    bottom: float
    relative: torch.Tensor
    d_shares: torch.Tensor


def solve(cell):
    problem = prepare(cell, PreparationSettings(kpoints_per_atom=3000))
    zero = torch.zeros(3 * cell.n_atoms, dtype=torch.float64)
    energies, shares = corrected_bands(problem, zero[None], zero)
    filling = fill(energies, problem.weights, problem.n_electrons)
    relative = energies - filling.zero_ev
    return Bands(filling.gap_ev, float(relative.min()), relative, shares[..., 2::3].sum(dim=2))


def test_aluminium_is_a_nearly_free_electron_metal_with_a_narrow_band():
    bands = solve(solid("Fm-3m", 4.04, ["Al"], [[0, 0, 0]]))
    assert bands.gap == 0
    # PBE: -11.1 eV.
    assert bands.bottom == pytest.approx(-9.8, abs=0.3)


@pytest.mark.parametrize(
    ("element", "lattice", "space_group", "lowest", "highest"),
    # PBE: Cu -5.2 to -1.5 eV, non-magnetic Fe about -5 to +2 eV.
    [("Cu", 3.63, "Fm-3m", -4.9, 0.35), ("Fe", 2.84, "Im-3m", -3.6, 2.5)],
)
def test_d_bands_have_the_right_width_but_lie_too_high(element, lattice, space_group, lowest, highest):
    bands = solve(solid(space_group, lattice, [element], [[0, 0, 0]]))
    d_bands = bands.relative[bands.d_shares > 0.6]
    assert bands.gap == 0
    assert float(d_bands.min()) == pytest.approx(lowest, abs=0.4)
    assert float(d_bands.max()) == pytest.approx(highest, abs=0.4)


@pytest.mark.parametrize(
    ("cell", "gap"),
    # PBE: Si 0.57, GaAs 0.5, NaCl 5.1, MgO 4.5, SrTiO3 1.8 eV.
    [
        (solid("Fd-3m", 5.47, ["Si"], [[0, 0, 0]]), 1.2),
        (zinc_blende(), 1.2),
        (rock_salt(), 5.7),
        (rock_salt(4.25, ("Mg", "O")), 7.6),
        (primitive(PEROVSKITE), 3.15),
    ],
)
def test_gaps_are_there_and_too_large(cell, gap):
    assert solve(cell).gap == pytest.approx(gap, abs=0.3)


def test_the_oxygen_bands_of_strontium_titanate_are_as_wide_as_in_pbe():
    bands = solve(primitive(PEROVSKITE))
    upper = bands.relative[(bands.relative < 1e-6) & (bands.relative > -10)]
    # PBE: 4.6 eV.
    assert -float(upper.min()) == pytest.approx(4.6, abs=0.3)
