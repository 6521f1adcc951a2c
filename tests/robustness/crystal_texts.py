"""Texts of crystal files, sound ones and ones like those that users send in."""

from __future__ import annotations

import json

from pymatgen.core import Lattice, Structure

ALL_OPERATIONS_OF_P1 = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n"
SALT_SITES = "Na1 0 0 0\nCl1 0.5 0.5 0.5"


def cif(sites=SALT_SITES, items="", *, a=5.64, b=None, c=None, angles=(90, 90, 90), name="crystal", columns=("label",)):
    """A CIF of one block; `items` stand between the cell and the sites, `columns` before the coordinates."""
    lengths = zip("abc", (a, b or a, c or a), strict=True)
    cell = [f"_cell_length_{axis} {length}" for axis, length in lengths]
    cell += [f"_cell_angle_{axis} {angle}" for axis, angle in zip(("alpha", "beta", "gamma"), angles, strict=True)]
    loop = ["loop_", *(f"_atom_site_{column}" for column in columns), *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    return "\n".join([f"data_{name}", *cell, items, *loop, sites, ""])


def group(symbol="F m -3 m", *, formula="", z=None, key="_symmetry_space_group_name_H-M"):
    """A named space group, with a formula and its number in the cell if they are given."""
    lines = [f"{key} '{symbol}'"]
    lines += [f"_chemical_formula_sum '{formula}'"] if formula else []
    lines += [f"_cell_formula_units_Z {z}"] if z else []
    return "\n".join(lines)


def poscar(names="Cs Cl", counts="1 1", sites="0 0 0\n0.5 0.5 0.5", *, title="x", scale="1.0", a=4.12, kind="Direct"):
    """A POSCAR of a cubic cell; without names that of VASP 4."""
    vectors = [f"{a} 0 0", f"0 {a} 0", f"0 0 {a}"]
    return "\n".join([title, scale, *vectors, *([names] if names else []), counts, kind, sites, ""])


def salt():
    return Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def salt_dict(**changes):
    return json.loads(json.dumps(salt().as_dict())) | changes
