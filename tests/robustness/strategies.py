"""Hypothesis strategies: crystals, tables of crystals, names, texts of files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

ELEMENTS = ("H", "Li", "C", "O", "Na", "Cl", "V", "Sr", "Cs", "W", "U")


@st.composite
def crystals(draw):
    """Crystals of one to six atoms in cells of any shape, with room for each atom."""
    n = draw(st.integers(1, 6))
    angles = draw(st.tuples(*[st.floats(65, 115)] * 3))
    lengths = draw(st.tuples(*[st.floats(3.5, 9)] * 3))
    cell = Lattice.from_parameters(*lengths, *angles)
    grid = draw(st.permutations([(i, j, k) for i in range(2) for j in range(2) for k in range(2)]))
    shift = draw(st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3))
    places = (np.array(grid[:n]) / 2 + np.array(shift)) % 1.0
    return Structure(cell, [draw(st.sampled_from(ELEMENTS)) for _ in range(n)], np.round(places, 6))


@st.composite
def unimodular(draw):
    """Integer matrices of determinant 1: other cells of the same lattice, as far as floating point numbers can tell."""
    matrix = np.eye(3, dtype=np.int64)
    for _ in range(draw(st.integers(1, 4))):
        first, second = draw(st.permutations(range(3)))[:2]
        matrix[first] += draw(st.integers(-9, 9)) * matrix[second]
    return matrix


names = st.text(st.characters(exclude_categories=()), max_size=12)
plain_numbers = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.integers(-(10**6), 10**6).map(float)
cells_of_tables = {
    "lattice": st.none()
    | st.lists(plain_numbers, min_size=7, max_size=10)
    | st.just([4.0, 0, 0, 0, 4.0, 0, 0, 0, 4.0]),
    "frac_coords": st.none() | st.lists(plain_numbers, max_size=7) | st.just([0.0, 0.0, 0.0, 0.5, 0.5, 0.5]),
    "atomic_numbers": st.none() | st.lists(plain_numbers, max_size=3) | st.just([55.0, 17.0]),
}


@st.composite
def tables(draw):
    """Tables of crystals the rows of which may hold anything of the right kind, in several Arrow types."""
    n = draw(st.integers(1, 4))
    columns = {"material_id": pa.array([f"mp-{i}" for i in range(n)])}
    for name, cell in cells_of_tables.items():
        kind = draw(st.sampled_from([pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float32())]))
        columns[name] = pa.array([draw(cell) for _ in range(n)], type=pa.list_(pa.float64())).cast(kind, safe=False)
    return pa.table(columns)


texts = st.text(max_size=300) | st.lists(
    st.sampled_from(
        [
            "data_",
            "loop_\n",
            "_cell_length_a ",
            "_atom_site_label\n",
            "_atom_site_fract_x\n",
            "5.0\n",
            "Na1 0 0 0\n",
            "{",
            "[",
            "]",
            '"lattice":',
            '"sites":',
            "1.0\n",
            "1 1\n",
            "Direct\n",
            "3 0 0\n",
            "0 3 0\n",
            "0 0 3\n",
            "Na Cl\n",
            "'",
            ";\n",
            "?",
        ]
    ),
    max_size=40,
).map("".join)
