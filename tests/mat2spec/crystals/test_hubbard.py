"""Hubbard U of sites, held to the input sets of the Materials Project in pymatgen."""

import warnings

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure
from pymatgen.io.vasp.sets import MPRelaxSet

from mat2spec.crystals.hubbard import site_u_ev, u_values_ev

ELEMENTS = [Element.from_Z(z).symbol for z in range(1, 104)]


def numbers(formula):
    return np.array([element.Z for element, n in Composition(formula).items() for _ in range(int(n))])


@pytest.mark.parametrize("anion", ["O", "F", "N", "S", "Cl", "H"])
def test_values_are_those_of_the_materials_project(anion):
    table = MPRelaxSet.CONFIG["INCAR"]["LDAUU"].get(anion, {})
    assert u_values_ev({*ELEMENTS, anion} - ({"O", "F"} - {anion})) == table


@pytest.mark.parametrize("formula", ["NiO", "FeF3", "WOF4", "FeS", "Fe3O4", "MoS2", "SrVO3", "LaTiO3", "FeCO3", "W"])
def test_sites_have_the_u_that_the_input_set_writes(formula):
    found = numbers(formula)
    coordinates = [[(7 * i % 11) / 11, (3 * i % 5) / 5, i / len(found)] for i in range(len(found))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        incar = MPRelaxSet(Structure(Lattice.cubic(9), found, coordinates), sort_structure=False).incar
    species = found[np.concatenate([[True], found[1:] != found[:-1]])]
    written = dict(zip(species.tolist(), incar.get("LDAUU", [0] * len(species)), strict=True))
    assert site_u_ev(found) == pytest.approx([written[number] for number in found.tolist()])


def test_what_is_no_element_has_none():
    assert site_u_ev(np.array([0, 8, 118, 26])) == pytest.approx([0, 0, 0, 5.3])
    assert site_u_ev(np.array([], dtype=int)).shape == (0,)
