"""Crystals in the JSON of many programs: what is meant is read, what contradicts itself or is none is refused."""

from __future__ import annotations

import json

import pytest
from monty.json import MontyEncoder
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.core.trajectory import Trajectory

from mat2spec.crystals.readers import read_structures
from tests.robustness.crystal_texts import salt, salt_dict

NAN = float("nan")
ROCK_SALT = Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
LATTICE = salt_dict()["lattice"]
JARVIS = {
    "lattice_mat": LATTICE["matrix"],
    "coords": [[0, 0, 0], [0.5] * 3],
    "elements": ["Cs", "Cl"],
    "cartesian": False,
}
LENGTHS = dict.fromkeys("abc", 4.12)
ANGLES = dict.fromkeys(("alpha", "beta", "gamma"), 90)


def first(**changes):
    """The structure with a changed first site."""
    content = salt_dict()
    content["sites"][0].update(changes)
    return content


def species(*parts):
    return first(species=[{"element": symbol, "occu": share} for symbol, share in parts])


def document(**items):
    return items | {"structure": salt_dict()}


def optimade(**changes):
    names = changes.get("species_at_sites", ["Cs", "Cl"])
    attributes = {
        "lattice_vectors": LATTICE["matrix"],
        "cartesian_site_positions": [[0, 0, 0], [2.06] * 3],
        "species_at_sites": names,
    }
    return {"data": {"attributes": attributes | changes}}


def twice(key, value):
    return json.dumps(salt_dict())[:-1] + f', "{key}": {value}}}'


READ = {
    "oxidation states": (salt().add_oxidation_state_by_element({"Cs": 1, "Cl": -1}).as_dict(), ["CsCl"]),
    "charges in symbols": (species(("Fe3+", 1)), ["FeCl"]),
    "two valences of one element": (species(("Fe", 0.5), ("Fe", 0.5)), ["FeCl"]),
    "an occupancy that was rounded": (species(("Cs", 0.9999)), ["CsCl"]),
    "coordinates as text": (first(abc=["0", "0", "0"]), ["CsCl"]),
    "nine numbers": (salt_dict(lattice=[4.12, 0, 0, 0, 4.12, 0, 0, 0, 4.12]), ["CsCl"]),
    "lengths and angles as text": (salt_dict(lattice={k: str(v) for k, v in (LENGTHS | ANGLES).items()}), ["CsCl"]),
    "text in a file": (json.dumps(salt_dict()), ["CsCl"]),
    "the default of pandas": ({"structure": {"0": salt_dict(), "1": salt_dict()}, "y": {"0": 1, "1": 2}}, ["CsCl"] * 2),
    "a table schema of pandas": ({"schema": {}, "data": [{"index": 0, "structure": salt_dict()}]}, ["CsCl"]),
    "one name twice": (f'{{"a": {json.dumps(salt_dict())}, "a": {json.dumps(ROCK_SALT.as_dict())}}}', ["CsCl", "NaCl"]),
    "a number of sites with a point": (document(nsites=2.0), ["CsCl"]),
    "a flag as text": (JARVIS | {"cartesian": "False"}, ["CsCl"]),
    "names of JavaScript": ({"__proto__": salt_dict(), "constructor": salt_dict()}, ["CsCl"] * 2),
}
REFUSED = {
    "a molecule": (Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]]).as_dict(), "a Molecule with"),
    "a trajectory": (
        json.dumps(Trajectory.from_structures([salt()]), cls=MontyEncoder),
        "a Trajectory with",
    ),
    "sites without a lattice": ({"cell": LATTICE["matrix"], "kinds": [], "sites": [{"kind_name": "Cs"}]}, "no lattice"),
    "a document without a structure": ({"material_id": "a", "initial_structures": [salt_dict()]}, "not a crystal"),
    "lists that do not match": (JARVIS | {"coords": [[0, 0, 0]]}, "not a crystal"),
    "a lattice twice": (twice("lattice", "[[9,0,0],[0,9,0],[0,0,9]]"), "'lattice' occurs twice"),
    "sites twice": (twice("sites", "[]"), "'sites' occurs twice"),
    "another angle": (salt_dict(lattice=LATTICE | {"gamma": 120}), "gamma = 120"),
    "a negative length": (salt_dict(lattice=LENGTHS | ANGLES | {"a": -4.12}), "No cell has"),
    "an angle of zero": (salt_dict(lattice=LENGTHS | ANGLES | {"gamma": 0}), "No cell has"),
    "angles that close no cell": (salt_dict(lattice=LENGTHS | {"alpha": 10, "beta": 10, "gamma": 170}), "No cell has"),
    "a length that is no number": (salt_dict(lattice=LENGTHS | ANGLES | {"a": NAN}), "No cell has"),
    "a flat lattice": (salt_dict(lattice=[[4, 0, 0], [4, 0, 0], [0, 0, 4]]), "in a plane"),
    "a lattice of zeros": (salt_dict(lattice=[[0, 0, 0]] * 3), "in a plane"),
    "a lattice that is not finite": (salt_dict(lattice=[[NAN, 0, 0], [0, 4, 0], [0, 0, 4]]), "non-finite"),
    "a lattice of flags": (salt_dict(lattice=[[True, 0, 0], [0, True, 0], [0, 0, True]]), "three vectors"),
    "a number too large": (json.dumps(salt_dict()).replace("4.12", "9" * 400, 1), "three vectors"),
    "flags as coordinates": (first(abc=[True, False, False], xyz=None), "are not three numbers"),
    "four coordinates": (first(abc=[0, 0, 0, 0]), "are not three numbers"),
    "an occupancy as text": (first(species=[{"element": "Cs", "occu": "1"}]), "the occupancy '1'"),
    "an occupancy of nothing": (first(species=[{"element": "Cs", "occu": None}]), "the occupancy None"),
    "a vacancy": (species(("Va", 1)), "'Va', which is not an element"),
    "a dummy": (species(("X0+", 1)), "not an element"),
    "letters for periods": (salt_dict(lattice=LATTICE | {"pbc": "TTF"}), "not periodic"),
    "periods beside the lattice": (salt_dict(pbc=[True, True, False]), "not periodic"),
    "names without rows": ({"index": [0], "columns": ["structure"], "data": [[salt_dict()]] * 2}, "1 names but 2 rows"),
    "another number of sites": (document(nsites=3.0), "has 3 sites"),
    "another chemical system": (document(chemsys="Br-Cs"), "lists the elements Br, Cs"),
    "another reduced composition": (document(composition_reduced={"Cs": 1, "Br": 1}), "has Br"),
    "attached hydrogens": (
        optimade(
            species_at_sites=["Cs", "O"],
            species=[
                {"name": "O", "chemical_symbols": ["O"], "concentration": [1], "attached": ["H"], "nattached": [1]}
            ],
        ),
        "['H'] attached",
    ),
    "a vacancy of OPTIMADE": (optimade(species_at_sites=["Cs", "vacancy"]), "'vacancy', which is not an element"),
    "another number in OPTIMADE": (optimade(nsites=4), "has 4 sites"),
    "another formula in OPTIMADE": (optimade(chemical_formula_reduced="BrCs"), "has Br"),
    "another length in JARVIS": (JARVIS | {"abc": [9, 9, 9]}, "a = 9"),
    "another angle in JARVIS": (JARVIS | {"angles": [90, 90, 60]}, "gamma = 60"),
}


def read(folder, content):
    (folder / "x.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return read_structures([folder / "x.json"])


@pytest.mark.parametrize(("content", "formulas"), READ.values(), ids=READ)
def test_what_is_meant_is_read(tmp_path, content, formulas):
    entries = read(tmp_path, content)
    assert [entry.structure and entry.structure.reduced_formula for entry in entries] == formulas, entries
    assert len({entry.name for entry in entries}) == len(formulas)


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_crystal_is_refused_in_one_sentence(tmp_path, content, words):
    (entry,) = read(tmp_path, content)
    assert entry.structure is None
    assert words in entry.reason
    assert "Error" not in entry.reason


@pytest.mark.parametrize("charge", [1, 2.0, "1"])
def test_charges_are_noted(tmp_path, charge):
    (entry,) = read(tmp_path, salt_dict(charge=charge))
    assert "charge of the cell" in entry.note


def test_a_mass_tells_deuterium(tmp_path):
    kinds = [{"name": "D", "chemical_symbols": ["H"], "concentration": [1], "mass": [2.014]}]
    (entry,) = read(tmp_path, optimade(species_at_sites=["Li", "D"], species=kinds))
    assert entry.isotopes == ("D",)
