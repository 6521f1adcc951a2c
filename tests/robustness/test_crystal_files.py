"""The crystal read is the one in the file, or a sentence says why not: one line per case."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from mat2spec.crystals.cif import to_primitive
from mat2spec.crystals.readers import read_structures
from tests.robustness.crystal_texts import ALL_OPERATIONS_OF_P1, cif, group, poscar, salt_dict

HALL = "_space_group_name_Hall"
NUMBER = "_space_group_IT_number"
Z_4 = "_chemical_formula_sum 'Cl Na'\n_cell_formula_units_Z 4"
WATER = "_chemical_formula_sum 'Mg H2 O2'\n_symmetry_space_group_name_H-M 'P -3 m 1'"
BRUCITE = {"a": 3.14, "c": 4.77, "angles": (90, 90, 120)}
MG_O = "Mg1 0 0 0\nO1 0.3333 0.6667 0.22"
MG_O_H = f"{MG_O}\nH1 0.3333 0.6667 0.42"
SYMBOLS = ("label", "type_symbol")

JARVIS = {
    "lattice_mat": [[4.12, 0, 0], [0, 4.12, 0], [0, 0, 4.12]],
    "coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "elements": ["Cs", "Cl"],
    "cartesian": False,
    "props": ["", ""],
}
OPTIMADE = {
    "lattice_vectors": JARVIS["lattice_mat"],
    "cartesian_site_positions": [[0, 0, 0], [2.06, 2.06, 2.06]],
    "species_at_sites": ["first", "Cl"],
    "species": [{"name": "first", "chemical_symbols": ["Cs"], "concentration": [1.0]}],
}
MIXED = [{"name": "first", "chemical_symbols": ["Cs", "Rb"], "concentration": [0.5, 0.5]}]

# File name, content, composition of the primitive cell, words of the note.
READ = {
    "no symmetry stated": ("x.cif", cif(), "Na1 Cl1", "states no symmetry"),
    "P 1 stated": ("x.cif", cif(items=group("P 1")), "Na1 Cl1", ""),
    "operations of P1": ("x.cif", cif(items=ALL_OPERATIONS_OF_P1), "Na1 Cl1", ""),
    "Cartesian numbers": (
        "x.cif",
        cif("Na1 0 0 0\nCl1 2.62 2.62 2.62", ALL_OPERATIONS_OF_P1),
        "Na1 Cl1",
        "could be Cartesian",
    ),
    "Hall symbol alone": ("x.cif", cif(items=f"{HALL} '-F 4 2 3'"), "Na1 Cl1", "F m -3 m were used"),
    "Hermann-Mauguin symbol alone": ("x.cif", cif(items=group()), "Na1 Cl1", "F m -3 m were used"),
    "symbol of before 1983": ("x.cif", cif(items=group("F m 3 m")), "Na1 Cl1", "F m -3 m were used"),
    "number alone": ("x.cif", cif(items=f"{NUMBER} 225"), "Na1 Cl1", "F m -3 m were used"),
    "symbol, formula and Z": ("x.cif", cif(items=group(formula="Cl Na", z=4)), "Na1 Cl1", ""),
    "underscores in the symbol": ("x.cif", cif(items=group("F_m_-3_m")), "Na1 Cl1", "were used"),
    "origin 1": ("x.cif", cif("C1 0 0 0", group("F d -3 m :1"), a=3.567), "C2", "F d -3 m:1"),
    "origin 2": ("x.cif", cif("C1 .125 .125 .125", group("F d -3 m :2"), a=3.567), "C2", "F d -3 m:2"),
    "origin Z of ICSD": ("x.cif", cif("C1 .125 .125 .125", group("F d -3 m Z"), a=3.567), "C2", "F d -3 m:2"),
    "origin decided by Z": ("x.cif", cif("C1 0 0 0", group("F d -3 m", formula="C", z=8), a=3.567), "C2", ":1"),
    "brucite with hydrogen": ("x.cif", cif(MG_O_H, WATER, **BRUCITE), "Mg1 O2 H2", ""),
    "coordinates of three digits": (
        "x.cif",
        cif("Mg1 0 0 0\nO1 .333 .667 .22\nH1 .333 .667 .42", WATER, **BRUCITE),
        "Mg1 O2 H2",
        "",
    ),
    "deuterium is noted": ("x.cif", cif("Li1 0 0 0\nD1 .5 .5 .5", group()), "Li1 H1", "D is treated as the element"),
    "charged symbols": (
        "x.cif",
        cif("Na1 Na1+ 0 0 0\nCl1 Cl1- .5 .5 .5", group(), columns=SYMBOLS),
        "Na1 Cl1",
        "",
    ),
    "symbols win over labels": ("x.cif", cif("A1 Na 0 0 0\nB1 Cl .5 .5 .5", group(), columns=SYMBOLS), "Na1 Cl1", ""),
    "block names of any case": ("x.cif", cif(items=group()).replace("data_", "DATA_"), "Na1 Cl1", ""),
    "a byte order mark": ("x.cif", "\ufeff" + cif(items=group()), "Na1 Cl1", ""),
    "lines of Windows": ("x.cif", cif(items=group()).replace("\n", "\r\n"), "Na1 Cl1", ""),
    "a CIF without its ending": ("crystal.txt", cif(items=group()), "Na1 Cl1", ""),
    "a text that holds data_": (
        "x.cif",
        cif(items=group() + "\n_publ_section_title\n;\ndata_of a paper\n;"),
        "Na1 Cl1",
        "",
    ),
    "pymatgen's own CIF": ("x.cif", str(CifWriter(Structure.from_dict(salt_dict()))), "Cs1 Cl1", ""),
    "POSCAR of VASP 5": ("POSCAR", poscar(), "Cs1 Cl1", ""),
    "VASP 4 with elements in its comment": ("POSCAR", poscar("", title="Cs Cl"), "Cs1 Cl1", "its first line"),
    "VASP 4 with elements behind": ("POSCAR", poscar("", sites="0 0 0 Cs\n.5 .5 .5 Cl"), "Cs1 Cl1", ""),
    "a volume as scale": ("POSCAR", poscar(scale="-69.9", kind="Cart", sites="0 0 0\n2.06 2.06 2.06"), "Cs1 Cl1", ""),
    "hashes behind elements": ("POSCAR", poscar("Cs_sv/f474ac0d Cl/79d9987ad87"), "Cs1 Cl1", ""),
    "selective dynamics": ("POSCAR", poscar(kind="Sel\nDirect", sites="0 0 0 T T F\n.5 .5 .5 F F F"), "Cs1 Cl1", ""),
    "velocities behind": ("POSCAR", poscar() + "\n0 0 0\n0 0 0\n", "Cs1 Cl1", ""),
    "a group without blanks": ("x.cif", cif(items=group("Fm-3m", key="_space_group_name_H-M_alt")), "Na1 Cl1", ""),
    "rhombohedral, named without its axes": (
        "x.cif",
        cif("Bi1 0 0 .4\nTe1 0 0 0\nTe2 0 0 .2097", group("R -3 m"), a=4.39, c=30.5, angles=(90, 90, 120)),
        "Bi2 Te3",
        "R -3 m:H",
    ),
    "a site of occupancy zero": (
        "x.cif",
        cif("Na1 1 0 0 0\nCl1 1 .5 .5 .5\nK1 0 .25 .25 .25", group("P 1"), columns=("label", "occupancy")),
        "Na1 Cl1",
        "1 sites with an occupancy of zero",
    ),
    "an unknown occupancy": (
        "x.cif",
        cif("Na1 ? 0 0 0\nCl1 1 .5 .5 .5", group(), columns=("label", "occupancy")),
        "Na1 Cl1",
        "",
    ),
    "moieties that agree": (
        "x.cif",
        cif(items=group() + "\n_chemical_formula_moiety 'Na 1+, Cl 1-'"),
        "Na1 Cl1",
        "",
    ),
    "moieties in words": (
        "x.cif",
        cif(items=group() + "\n_chemical_formula_moiety 'see text'"),
        "Na1 Cl1",
        "",
    ),
    "a block before the crystal": ("x.cif", "data_global\n_journal_year 1999\n" + cif(items=group()), "Na1 Cl1", ""),
    "a CIF in UTF-16": ("x.cif", cif(items=group()).encode("utf-16"), "Na1 Cl1", ""),
    "an author in Latin-1": ("x.cif", "# M\xfcller\n".encode("latin-1") + cif(items=group()).encode(), "Na1 Cl1", ""),
    "tabs": ("x.cif", cif(items=group()).replace(" ", "\t"), "Na1 Cl1", ""),
    "coordinates written Kartesian": ("POSCAR", poscar(kind="Kart", sites="0 0 0\n2.06 2.06 2.06"), "Cs1 Cl1", ""),
    "an element in two places": (
        "POSCAR",
        poscar("Cs Cl Cs", "1 1 1", "0 0 0\n.5 .5 .5\n.5 0 0"),
        "Cs2 Cl1",
        "",
    ),
    "a lattice by lengths and angles": (
        "x.json",
        json.dumps(salt_dict(lattice=dict.fromkeys("abc", 4.12) | dict.fromkeys(("alpha", "beta", "gamma"), 90))),
        "Cs1 Cl1",
        "",
    ),
    "one line of JSON lines": ("x.jsonl", json.dumps(salt_dict()) + "\n", "Cs1 Cl1", ""),
    "a structure kept as text": (
        "x.json",
        json.dumps({"energy": -1.0, "structure": json.dumps(salt_dict())}),
        "Cs1 Cl1",
        "",
    ),
    "atoms of JARVIS": ("x.json", json.dumps({"jid": "", "atoms": JARVIS}), "Cs1 Cl1", ""),
    "Cartesian atoms of JARVIS": (
        "x.json",
        json.dumps(JARVIS | {"cartesian": True, "coords": [[0, 0, 0], [2.06] * 3]}),
        "Cs1 Cl1",
        "",
    ),
    "an entry of OPTIMADE": ("x.json", json.dumps({"data": {"attributes": OPTIMADE}}), "Cs1 Cl1", ""),
    "a document that lists its elements": (
        "x.json",
        json.dumps({"elements": ["Cl", "Cs"], "structure": salt_dict()}),
        "Cs1 Cl1",
        "",
    ),
    "a document that lists deuterium": (
        "x.json",
        json.dumps({"elements": ["Cl", "Cs"], "structure": salt_dict()}).replace('"Cl"', '"D"'),
        "Cs1 H1",
        "D is treated as the element",
    ),
    "a structure": ("x.json", json.dumps(salt_dict()), "Cs1 Cl1", ""),
    "a class that would be imported": ("x.json", json.dumps(salt_dict(**{"@module": "this"})), "Cs1 Cl1", ""),
    "a computed entry": ("x.json", json.dumps({"energy": -1.0, "structure": salt_dict()}), "Cs1 Cl1", ""),
    "a charge is noted": ("x.json", json.dumps(salt_dict(charge=1)), "Cs1 Cl1", "charge of the cell"),
}

# File name, content, words of the reason.
REFUSED = {
    "lost hydrogens": ("x.cif", cif(MG_O, WATER, **BRUCITE), "has H, but no site does"),
    "lost oxygens": ("x.cif", cif("Mg1 0 0 0", WATER, **BRUCITE), "has H and O"),
    "an atom too many": ("x.cif", cif(items=group(formula="Na", z=4)), "sites hold Cl"),
    "other shares": ("x.cif", cif(items=group(formula="Cl3 Na", z=1)), "the sites give NaCl"),
    "lost operations": ("x.cif", cif(items=Z_4), "4 formula units of NaCl, 8 atoms"),
    "operations of P1 under Fm-3m": (
        "x.cif",
        cif(items=group() + "\n" + ALL_OPERATIONS_OF_P1),
        "operations are missing",
    ),
    "lost operations by density": ("x.cif", cif(items="_exptl_crystal_density_diffrn 2.16"), "2.16 g/cm3"),
    "a density in kg/m3": ("x.cif", cif(items="_exptl_crystal_density_diffrn 2160"), "2.16 g/cm3"),
    "another volume": ("x.cif", cif(items="_cell_volume 26.6"), "26.6 cubic Angstrom"),
    "lengths in Bohr by volume": (
        "x.cif",
        cif(items=group() + "\n_cell_volume 179.4", a=10.66),
        "179.4 cubic Angstrom",
    ),
    "lengths in nm by volume": ("x.cif", cif(items=group() + "\n_cell_volume 179.4", a=0.564), "179.4 cubic Angstrom"),
    "an unknown symbol": ("x.cif", cif(items=group("F q 3")), "the symbol is not known"),
    "an unknown Hall symbol": ("x.cif", cif(items=f"{HALL} '-F 9 9'"), "the symbol is not known"),
    "two groups": ("x.cif", cif(items=group() + f"\n{NUMBER} 221"), "number 225, and the number 221"),
    "an open origin": ("x.cif", cif("C1 0 0 0", group("F d -3 m"), a=3.567), "F d -3 m:1 or F d -3 m:2"),
    "an open origin, by number": ("x.cif", cif("C1 0 0 0", f"{NUMBER} 227", a=3.567), "name the setting"),
    "a cubic group in a tetragonal cell": ("x.cif", cif(items=group(), c=6.5), "does not have the symmetry F m -3 m"),
    "operations that do not fit": (
        "x.cif",
        cif(items="loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'z,x,y'\n'y,z,x'", c=6.5),
        "do not fit the cell",
    ),
    "water as a site": ("x.cif", cif("Na1 0 0 0\nWat1 .5 .5 .5"), "group of atoms"),
    "hydroxide as a site": ("x.cif", cif("Na1 0 0 0\nOH1 .5 .5 .5"), "group of atoms"),
    "O-H as a symbol": ("x.cif", cif("Na1 Na 0 0 0\nO1 O-H .5 .5 .5", columns=SYMBOLS), "group of atoms"),
    "ammonium as a site": ("x.cif", cif("NH4 0 0 0\nCl1 .5 .5 .5"), "group of atoms"),
    "attached hydrogens": (
        "x.cif",
        cif("Na1 0 0 0 0\nO1 1 .5 .5 .5", columns=("label", "attached_hydrogens")),
        "1 hydrogens are listed as attached",
    ),
    "a symbol that is not an element": ("x.cif", cif("Na1 0 0 0\nX1 .5 .5 .5"), "'X1' is not an element"),
    "a vacancy": (
        "x.cif",
        cif("Na1 0 0 0\nVac .5 .5 .5", columns=("label",)).replace("Vac", "?"),
        "'?' is not an element",
    ),
    "an unknown coordinate": ("x.cif", cif("Na1 0 0 0\nCl1 ? .5 .5"), "no coordinate"),
    "a coordinate left out": ("x.cif", cif("Na1 0 0 0\nCl1 . .5 .5"), "no coordinate"),
    "Cartesian coordinates": ("x.cif", cif().replace("fract", "Cartn"), "Cartesian coordinates"),
    "a label of an element without a name": (
        "x.cif",
        cif("Uuo1 0 0 0\nCl1 .5 .5 .5", group()),
        "'Uuo1' is not an element",
    ),
    "a symbol of an element without a name": (
        "x.cif",
        cif("A1 Uub 0 0 0\nB1 Cl .5 .5 .5", group(), columns=SYMBOLS),
        "'Uub' is not an element",
    ),
    "two lists of sites": (
        "x.cif",
        cif(items=group())
        + "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nK1 0 0 0\n",
        "_atom_site_label twice",
    ),
    "two cells": ("x.cif", cif(items=group() + "\n_cell_length_a 6.6"), "_cell_length_a twice"),
    "two formulas": (
        "x.cif",
        cif(items=group(formula="Cl Na") + "\n_chemical_formula_sum 'K Br'"),
        "_chemical_formula_sum twice",
    ),
    "a dummy site": (
        "x.cif",
        cif("Na1 d 0 0 0\nCl1 dum .5 .5 .5", group(), columns=("label", "calc_flag")),
        "dummies",
    ),
    "a superspace group": ("x.cif", cif(items="_space_group_ssg_name 'Pnma(00g)'"), "modulated"),
    "a wave vector": ("x.cif", cif(items="_cell_wave_vector_x 0.3"), "modulated"),
    "water in a moiety alone": (
        "x.cif",
        cif(items=group() + "\n_chemical_formula_moiety 'Na 1+, Cl 1-, 2(H2 O)'"),
        "H and O are in only one",
    ),
    "a row of a loop that is short": ("x.cif", cif("Na1 0 0 0\nCl1 .5 .5", group()), "values left over"),
    "monoclinic about another axis": (
        "x.cif",
        cif("Na1 .1 .2 .3\nCl1 .6 .7 .8", group("P 21"), a=4.1, b=5.2, c=6.1, angles=(90, 90, 100)),
        "does not have the symmetry P 21",
    ),
    "rhombohedral axes in a hexagonal cell": (
        "x.cif",
        cif("Bi1 0 0 .4", group("R -3 m :R"), a=4.39, c=30.5, angles=(90, 90, 120)),
        "does not have the symmetry R -3 m:R",
    ),
    "decimal commas": ("x.cif", cif("Na1 0 0 0\nCl1 0,5 0,5 0,5", group()), "'0,5', which is not a fraction"),
    "lengths in pm": ("x.cif", cif(items=group(), a=564), "2000 cubic Angstrom per atom"),
    "centring lost from the operations": (
        "x.cif",
        cif(items=f"{group()}\n{Z_4}\nloop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'-x,-y,-z'"),
        "8 atoms",
    ),
    "overflown numbers": ("POSCAR", poscar(sites="0 0 0\n****** .5 .5"), "parse"),
    "a slab": (
        "x.json",
        json.dumps(salt_dict(lattice=salt_dict()["lattice"] | {"pbc": [True, True, False]})),
        "not periodic",
    ),
    "a slab of OPTIMADE": (
        "x.json",
        json.dumps({"data": [{"id": "x", "attributes": OPTIMADE | {"dimension_types": [1, 1, 0]}}]}),
        "not periodic",
    ),
    "a mixed site of OPTIMADE": (
        "x.json",
        json.dumps({"attributes": OPTIMADE | {"species": MIXED}}),
        "partial occupancies",
    ),
    "a volume of another lattice": (
        "x.json",
        json.dumps(salt_dict(lattice=salt_dict()["lattice"] | {"volume": 471.9})),
        "a volume of 471.9",
    ),
    "a document of other elements": (
        "x.json",
        json.dumps({"elements": ["Br", "Cs"], "structure": salt_dict()}),
        "lists the elements Br, Cs",
    ),
    "no cell": ("x.cif", "\n".join(x for x in cif().splitlines() if "_cell" not in x), "gives no cell"),
    "a modulation": ("x.cif", cif(items="_cell_modulation_dimension 1"), "modulated"),
    "partial occupancies": ("x.cif", cif("Na1 .5 0 0 0", columns=("label", "occupancy")), "partial occupancies"),
    "two atoms in one place": ("x.cif", cif("Na1 0 0 0\nK1 0 0 0"), "add up to 2.0"),
    "a negative length": ("x.cif", cif(a=-4.12, items=ALL_OPERATIONS_OF_P1), "_cell_length_a is '-4.12'"),
    "a length that is not finite": ("x.cif", cif(a="inf"), "_cell_length_a is 'inf'"),
    "an unknown angle": ("x.cif", cif(angles=(90, 90, "?")), "_cell_angle_gamma is '?'"),
    "an angle beyond 180 degrees": ("x.cif", cif(angles=(90, 90, 400)), "_cell_angle_gamma is '400'"),
    "a negative angle": ("x.cif", cif(angles=(-90, 90, 90)), "_cell_angle_alpha is '-90'"),
    "angles that close no cell": ("x.cif", cif(angles=(100, 120, 140)), "in a plane"),
    "a flat cell": ("x.cif", cif(angles=(0.001, 90, 90)), "thinner than an atom"),
    "a needle": ("x.cif", cif(a=1e-9, b=3e5, c=3e5), "thinner than an atom"),
    "a cell as long as a hair": ("x.cif", cif(b=42000000), "isolated atoms"),
    "a cell as long as a hair with symmetry": ("x.cif", cif(a=42000000, items=group()), "isolated atoms"),
    "a coordinate that is not a fraction": ("x.cif", cif("Na1 0 0 0\nCl1 1e9 .5 .5"), "'1e9', which is not a fraction"),
    "a coordinate that is not a number": ("x.cif", cif("Na1 0 0 0\nCl1 nan .5 .5"), "'nan', which is not a fraction"),
    "no sites": ("x.cif", "data_x\n_cell_length_a 3\n", "lists no atoms"),
    "no block": ("x.cif", "# nothing\n", "contains no crystal"),
    "an empty file": ("x.cif", "", "contains no crystal"),
    "a web page": ("x.cif", "<!DOCTYPE html><html>404</html>", "web page"),
    "VASP 4 without elements": ("POSCAR", poscar(""), "names no elements"),
    "VASP 4 with a formula as comment": ("POSCAR", poscar("", title="CsCl relaxed"), "names no elements"),
    "unknown elements": ("POSCAR", poscar("Cs Xx"), "'Xx' in the line of elements"),
    "more names than numbers": ("POSCAR", poscar(counts="2"), "names 2 elements (Cs Cl) but gives 1"),
    "fewer names than numbers": ("POSCAR", poscar("Cs"), "names 1 elements (Cs) but gives 2"),
    "more coordinates than counted": ("POSCAR", poscar(sites="0 0 0\n.5 .5 .5\n.25 .25 .25"), "more coordinates"),
    "fewer coordinates than counted": ("POSCAR", poscar(sites="0 0 0"), "parse"),
    "elements that contradict": ("POSCAR", poscar(sites="0 0 0 Cs\n.5 .5 .5 Br"), "Site 2 is Cl according to the line"),
    "three scales": ("POSCAR", poscar(scale="1 1 1"), "scales each axis"),
    "some other text": ("POSCAR", "Dear all,\nplease find\nattached\n\n\n\n\n\nme", "not a CIF, POSCAR or JSON"),
    "an empty POSCAR": ("POSCAR", "", "not a CIF, POSCAR or JSON"),
    "an answer of an API without data": ("x.json", '{"detail": "Not found"}', "mapping with detail"),
    "a number": ("x.json", "7", "holds a number"),
    "an empty list": ("x.json", "[]", "contains no crystal"),
    "JSON cut off": ("x.json", json.dumps(salt_dict())[:300], "does not parse"),
    "JSON of many levels": ("x.json", "[" * 100_000, "parse"),
    "coordinates of another cell": (
        "x.json",
        json.dumps(salt_dict(sites=[site | {"abc": [1.0, 2.0, 0.3]} for site in salt_dict()["sites"]])),
        "Angstrom apart: 'abc' or 'xyz'",
    ),
    "a length of another lattice": (
        "x.json",
        json.dumps(salt_dict(lattice=salt_dict()["lattice"] | {"a": 7.79})),
        "gives a = 7.79",
    ),
    "a lattice of text": ("x.json", json.dumps(salt_dict(lattice="cubic")), "three vectors"),
    "a document of another formula": (
        "x.json",
        json.dumps({"formula_pretty": "CsBr", "structure": salt_dict()}),
        "formula in the file, CsBr",
    ),
    "a document of another number": ("x.json", json.dumps({"nsites": 4, "structure": salt_dict()}), "has 4 sites"),
    "a document of another volume": ("x.json", json.dumps({"volume": 472, "structure": salt_dict()}), "472 cubic"),
    "no sites in JSON": ("x.json", json.dumps(salt_dict(sites=[])), "no sites"),
    "a dummy in JSON": (
        "x.json",
        json.dumps(
            salt_dict(sites=[site | {"species": [{"element": "X", "occu": 1}]} for site in salt_dict()["sites"]])
        ),
        "'X', which is not an element",
    ),
}


def read(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_structures([path])


@pytest.mark.parametrize(("name", "content", "composition", "note"), READ.values(), ids=READ)
def test_what_is_meant_is_read(tmp_path, name, content, composition, note):
    (entry,) = read(tmp_path, name, content)
    assert entry.structure is not None, entry.reason
    assert (
        entry.structure.composition.formula == Structure(Lattice.cubic(9), *_sites_of(composition)).composition.formula
    )
    assert note in entry.note
    if not note:
        assert "taken" not in entry.note
        assert "charge" not in entry.note


def _sites_of(composition):
    names = [part.rstrip("0123456789") for part in composition.split()]
    counts = [int(part[len(name) :]) for part, name in zip(composition.split(), names, strict=True)]
    species = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    return species, [[0.1 * index, 0, 0] for index in range(len(species))]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_the_crystal_of_the_file_is_refused(tmp_path, name, content, words):
    (entry,) = read(tmp_path, name, content)
    assert entry.structure is None
    assert words in entry.reason
    assert "Traceback" not in entry.reason
    assert "\n" not in entry.reason


MEMBERS = {
    "blocks": ("x.cif", cif(name="good") + cif("Xx1 0 0 0", name="bad") + cif(name="good"), ["good", "bad", "good-2"]),
    "blocks without crystals": ("x.cif", "data_global\n_publ_x 1\n" + cif(name="a") + cif(name="b"), ["a", "b"]),
    "a list": ("x.json", json.dumps([salt_dict(), {"x": 1}, 5, None, salt_dict()]), ["1", "2", "3", "4", "5"]),
    "documents": (
        "x.json",
        json.dumps([{"material_id": "mp-1", "structure": salt_dict()}, {"material_id": "mp-2", "structure": 3}]),
        ["mp-1", "mp-2"],
    ),
    "an answer of the API": (
        "x.json",
        json.dumps({"data": [{"material_id": f"mp-{i}", "structure": salt_dict()} for i in (1, 2)], "meta": {}}),
        ["mp-1", "mp-2"],
    ),
    "a mapping": ("x.json", json.dumps({"mp-3": salt_dict(), "mp-4": {"sites": 3}}), ["mp-3", "mp-4"]),
}


@pytest.mark.parametrize(("name", "content", "keys"), MEMBERS.values(), ids=MEMBERS)
def test_a_bad_member_stops_no_other_and_names_are_kept(tmp_path, name, content, keys):
    entries = read(tmp_path, name, content)
    assert [entry.key for entry in entries] == keys
    assert [entry.name for entry in entries] == [f"{tmp_path / name}#{key}" for key in keys]
    good = [entry for entry in entries if entry.structure is not None]
    assert good
    assert all(len(entry.structure) == 2 for entry in good)
    assert all(entry.reason for entry in entries if entry.structure is None)


def breathing_perovskite():
    """BaBiO3 with two kinds of bismuth, whose oxygens are 0.085 Angstrom off the middle, in a cell of 40 atoms."""
    cubic = Structure(
        Lattice.cubic(4.37), ["Ba", "Bi", "O", "O", "O"], [[0.5] * 3, [0] * 3, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    )
    cell = cubic * (2, 2, 2)
    for index, site in enumerate(cell):
        if site.specie.symbol == "O":
            along = int(np.argmax(np.abs((site.frac_coords * 2) % 1 - 0) > 0.25))
            towards = np.rint(site.frac_coords * 2 - 0.5 * np.eye(3)[along]).astype(int)
            sign = 1 if towards.sum() % 2 == 0 else -1
            cell.translate_sites([index], 0.085 * sign * np.eye(3)[along], frac_coords=False)
    return cell


@pytest.mark.parametrize("symmetry_tolerance_a", [None, 0.01])
def test_a_distortion_is_not_erased(tmp_path, symmetry_tolerance_a):
    crystal = breathing_perovskite()
    (entry,) = read(tmp_path, "x.cif", str(CifWriter(crystal, symprec=symmetry_tolerance_a)))
    assert len(entry.structure) == 10
    bismuth = [site for site in entry.structure if site.specie.symbol == "Bi"]
    distances = sorted(
        min(neighbour.nn_distance for neighbour in entry.structure.get_neighbors(site, 2.6)) for site in bismuth
    )
    assert distances == pytest.approx([4.37 / 2 - 0.085, 4.37 / 2 + 0.085], abs=1e-3)


def test_a_supercell_is_reduced_and_keeps_its_atoms_in_place():
    crystal = breathing_perovskite() * (1, 1, 2)
    primitive = to_primitive(crystal)
    assert len(primitive) == 10
    assert primitive.volume / 10 == pytest.approx(crystal.volume / len(crystal))


def test_each_line_of_json_lines_is_a_crystal_or_a_row_with_its_reason(tmp_path):
    lines = [json.dumps({"material_id": "a", "structure": salt_dict()}), "{cut off", json.dumps(salt_dict())]
    first, cut, last = read(tmp_path, "x.jsonl", "\n".join(lines) + "\n")
    assert (first.key, first.structure.reduced_formula, last.structure.reduced_formula) == ("a", "CsCl", "CsCl")
    assert cut.structure is None
    assert "not a crystal" in cut.reason
