"""Columns of crystals in every type that programs write: what is meant is read, the rest refused by name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.checks import find_notes, find_problems
from mat2spec.crystals.compact import reduce_skewed_cells
from mat2spec.crystals.readers import read_structures
from mat2spec.graphs.building import build_graphs
from mat2spec.tables.files import TableError
from screening.sources.base import SourceError
from screening.sources.parquet import ParquetSource

CUBIC = [[4.12, 0.0, 0.0], [0.0, 4.12, 0.0], [0.0, 0.0, 4.12]]
FLAT = [number for row in CUBIC for number in row]
SITES = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
FLAT_SITES = [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]
DOUBLES = pa.list_(pa.float64())
NESTED = pa.list_(DOUBLES)


def table(n=2, **columns):
    """Rows of CsCl; columns given as arrays take the place of plain ones."""
    plain = {
        "material_id": pa.array([f"mp-{row}" for row in range(n)]),
        "lattice": pa.array([FLAT] * n, type=DOUBLES),
        "frac_coords": pa.array([FLAT_SITES] * n, type=DOUBLES),
        "atomic_numbers": pa.array([[55, 17]] * n, type=pa.list_(pa.int64())),
    }
    return pa.table(plain | columns)


def twice(value, kind=None):
    return pa.array([value, value], type=kind)


MEANT = {
    "lattices of 3 x 3": {"lattice": twice(CUBIC, NESTED)},
    "coordinates of n x 3": {"frac_coords": twice(SITES, NESTED)},
    "both, as pymatgen writes them": {"lattice": twice(CUBIC, NESTED), "frac_coords": twice(SITES, NESTED)},
    "large lists of large lists, as polars writes them": {
        "lattice": twice(CUBIC, pa.large_list(pa.large_list(pa.float64()))),
        "frac_coords": twice(SITES, pa.large_list(pa.large_list(pa.float64()))),
    },
    "arrays of fixed size, as polars writes them": {
        "lattice": twice(CUBIC, pa.list_(pa.list_(pa.float64(), 3), 3)),
        "frac_coords": twice(SITES, pa.list_(pa.list_(pa.float64(), 3))),
    },
    "nine numbers of fixed size": {"lattice": twice(FLAT, pa.list_(pa.float64(), 9))},
    "single precision": {"lattice": twice(FLAT, pa.list_(pa.float32())), "frac_coords": twice(SITES)},
    "whole numbers": {"frac_coords": twice([0, 0, 0, 1, 1, 1]), "atomic_numbers": twice([55, 55])},
    "decimals": {"lattice": twice([Decimal(str(x)) for x in FLAT], pa.list_(pa.decimal128(8, 4)))},
    "numbers as texts": {"lattice": twice([str(x) for x in FLAT])},
    "JSON of lists": {"lattice": twice(json.dumps(CUBIC)), "frac_coords": twice(json.dumps(SITES))},
    "JSON of numbers": {"atomic_numbers": twice("[55, 17]")},
    "JSON of symbols": {"atomic_numbers": twice('["Cs", "Cl"]')},
    "JSON in bytes": {"lattice": twice(json.dumps(CUBIC).encode())},
    "JSON of a pymatgen lattice": {"lattice": twice(json.dumps({"matrix": CUBIC, "a": 4.12}))},
    "a pymatgen lattice": {"lattice": twice({"matrix": CUBIC, "a": 4.12})},
    "symbols": {"atomic_numbers": twice(["Cs", "Cl"])},
    "symbols as a dictionary": {
        "atomic_numbers": pa.ListArray.from_arrays([0, 2, 4], pa.array(["Cs", "Cl"] * 2).dictionary_encode())
    },
    "symbols as views": {
        "atomic_numbers": pa.ListArray.from_arrays([0, 2, 4], pa.array(["Cs", "Cl"] * 2, pa.string_view()))
    },
    "numbers with a point": {"atomic_numbers": twice([55.0, 17.0])},
    "atomic numbers as texts": {"atomic_numbers": twice(["55", "17"])},
    "numbers of fixed size": {"atomic_numbers": twice([55, 17], pa.list_(pa.int16(), 2))},
    "large symbols": {"atomic_numbers": twice(["Cs", "Cl"], pa.large_list(pa.large_string()))},
    "a view of a list": {"lattice": twice(FLAT, pa.list_view(pa.float64()))},
    "a list that Python printed": {"lattice": twice(str(CUBIC))},
    "a list in a list of lists": {"lattice": twice([CUBIC], pa.list_(NESTED))},
    "half precision": {"frac_coords": twice([np.float16(x) for x in FLAT_SITES], pa.list_(pa.float16()))},
    "decimals of 256 bits": {"lattice": twice([Decimal(str(x)) for x in FLAT], pa.list_(pa.decimal256(40, 10)))},
    "symbols in bytes": {"atomic_numbers": twice([b"Cs", b"Cl"])},
    "symbols between blanks": {"atomic_numbers": twice([" Cs", "Cl "])},
    "symbols and numbers": {"atomic_numbers": twice('["Cs", 17]')},
    "decimal atomic numbers": {"atomic_numbers": twice([Decimal(55), Decimal(17)], pa.list_(pa.decimal128(5, 1)))},
    "band gaps as decimals": {"band_gap": pa.array([Decimal("0.1"), Decimal(0)])},
    "band gaps as text": {"band_gap": pa.array(["0.1", "0"])},
    "band gaps in half precision": {"band_gap": pa.array([np.float16(0.5), np.float16(0)], type=pa.float16())},
    "no band gaps": {"band_gap": pa.nulls(2)},
    "a number of sites as text": {"nsites": pa.array(["2", "2"])},
    "elements that agree": {"elements": twice(["Cl", "Cs"]), "chemsys": twice("Cl-Cs")},
    "a column with a dot": {"a.b": pa.array([1, 2])},
    "small numbers": {"atomic_numbers": twice([55, 17], pa.list_(pa.uint8()))},
}


@pytest.mark.parametrize("columns", MEANT.values(), ids=MEANT)
def test_types_that_are_meant_are_read(tmp_path, columns):
    pq.write_table(table(**columns), tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet")
    crystals = source.crystals(["mp-1", "mp-0"])
    assert crystals.problems is None
    assert crystals.material_ids.tolist() == ["mp-1", "mp-0"]
    assert crystals.n_sites.tolist() == [2, 2]
    np.testing.assert_allclose(crystals.lattices, [CUBIC, CUBIC], rtol=1e-6)
    assert crystals.atomic_numbers[0] == 55
    assert source.properties()["nsites"].tolist() == [2, 2]


IDENTIFIERS = {
    "numbers": (pa.array([149, 22]), ["149", "22"]),
    "unsigned numbers": (pa.array([149, 22], type=pa.uint16()), ["149", "22"]),
    "numbers with a point": (pa.array([149.0, 22.0]), ["149", "22"]),
    "bytes": (pa.array([b"mp-149", b"mp-22"]), ["mp-149", "mp-22"]),
    "bytes of fixed size": (pa.array([b"mp-1", b"mp-2"], type=pa.binary(4)), ["mp-1", "mp-2"]),
    "large texts": (pa.array(["mp-1", "mp-2"], type=pa.large_string()), ["mp-1", "mp-2"]),
    "views": (pa.array(["mp-1", "mp-2"], type=pa.string_view()), ["mp-1", "mp-2"]),
    "a dictionary": (pa.array(["mp-1", "mp-2"]).dictionary_encode(), ["mp-1", "mp-2"]),
    "unsigned numbers of 64 bits": (
        pa.array([2**64 - 1, 2**63], type=pa.uint64()),
        ["18446744073709551615", "9223372036854775808"],
    ),
    "the smallest number": (pa.array([-(2**63), -1]), ["-9223372036854775808", "-1"]),
    "a dictionary of numbers": (pa.array([1, 2]).dictionary_encode(), ["1", "2"]),
    "universal identifiers": (
        pa.array([bytes(15) + b"\1", bytes(15) + b"\2"], type=pa.uuid()),
        [f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)],
    ),
    "two spellings of Unicode": (pa.array(["\u00e9", "e\u0301"]), ["\u00e9", "e\u0301"]),
    "texts with blanks and brackets": (pa.array(["[red] a/b", "ä 😀"]), ["[red] a/b", "ä 😀"]),
}


@pytest.mark.parametrize(("column", "names"), IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_identifiers_of_any_type_are_texts(tmp_path, column, names):
    pq.write_table(table(material_id=column), tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet")
    assert source.properties()["material_id"].tolist() == names
    assert source.crystals(names).material_ids.tolist() == names


WRONG_COLUMNS = {
    "flags as identifiers": ({"material_id": twice(value=True)}, "bool"),
    "fractions as identifiers": ({"material_id": pa.array([1.5, 2.5])}, "double"),
    "lists as identifiers": ({"material_id": twice(["a"])}, "list"),
    "bytes that are not text": ({"material_id": pa.array([b"\xff\xfe", b"a"])}, "not text"),
    "a number as lattice": ({"lattice": pa.array([4.12, 4.12])}, "lists of numbers"),
    "a number as element": ({"atomic_numbers": pa.array([55, 55])}, "lists of numbers"),
    "decimals as identifiers": ({"material_id": pa.array([Decimal(149), Decimal(22)])}, "decimal"),
    "times as identifiers": ({"material_id": pa.array([0, 1], type=pa.timestamp("s"))}, "timestamp"),
    "no identifiers": ({"material_id": pa.nulls(2)}, "have no material_id"),
    "an identifier left out": ({"material_id": pa.array(["mp-0", None])}, "1 rows"),
    "an identifier of no letters": ({"material_id": pa.array(["mp-0", ""])}, "1 rows"),
    "an identifier that is not a number": ({"material_id": pa.array([1.0, float("nan")])}, "1 rows"),
    "an identifier of blanks": ({"material_id": pa.array(["mp-0", "   "])}, "1 rows"),
    "numbers that are not exact": ({"material_id": pa.array([1e300, 2.0])}, "text or integers"),
    "infinite identifiers": ({"material_id": pa.array([float("inf"), 2.0])}, "text or integers"),
    "durations as identifiers": ({"material_id": pa.array([0, 1], type=pa.duration("s"))}, "duration"),
    "flags as band gaps": ({"band_gap": pa.array([True, False])}, "band_gap .* true and false"),
    "an infinite band gap": ({"band_gap": pa.array([float("inf"), 0.0])}, "band_gap .* infinite or negative"),
    "a negative band gap for an unknown one": ({"band_gap": pa.array([-1.0, 0.0])}, "band_gap .* infinite or negative"),
    "dates as energies": ({"energy_above_hull": pa.array([0, 0], type=pa.date32())}, "does not hold numbers"),
    "an identifier twice": ({"material_id": twice("mp-0")}, "repeat the material_id"),
    "lengths and angles in a struct": ({"lattice": twice({"a": 4.12, "alpha": 90.0})}, "lists of numbers"),
    "a map as lattice": ({"lattice": twice([("a", 4.12)], pa.map_(pa.string(), pa.float64()))}, "lists of numbers"),
    "text among band gaps": ({"band_gap": pa.array(["0.1", "x"])}, "band_gap .* does not hold numbers"),
    "lists as energies": ({"energy_above_hull": twice([0.1])}, "energy_above_hull .* does not hold numbers"),
    "flags as coordinates": ({"frac_coords": twice(value=False)}, "lists of numbers"),
}


@pytest.mark.parametrize(("columns", "words"), WRONG_COLUMNS.values(), ids=WRONG_COLUMNS)
def test_columns_that_mean_nothing_are_refused_by_name(tmp_path, columns, words):
    pq.write_table(table(**columns), tmp_path / "x.parquet")
    with pytest.raises((TableError, SourceError), match=words) as refused:
        read_all(ParquetSource(tmp_path / "x.parquet"))
    assert "damaged" not in str(refused.value)
    assert "replace" not in str(refused.value).lower()


@pytest.mark.parametrize("name", ["material_id", "lattice", "frac_coords", "atomic_numbers"])
def test_a_column_twice_is_refused_by_name(tmp_path, name):
    plain = table()
    pq.write_table(
        pa.Table.from_arrays([*plain.columns, plain[name]], names=[*plain.column_names, name]), tmp_path / "x.parquet"
    )
    with pytest.raises((TableError, SourceError), match=f"two columns called {name}"):
        read_all(ParquetSource(tmp_path / "x.parquet"))
    (entry,) = read_structures([tmp_path / "x.parquet"])
    assert f"two columns called {name}" in entry.reason


def read_all(source):
    return source.properties(), source.crystals(["mp-0"])


def first_is(value, other, kind=None):
    return pa.array([value, other], type=kind)


BAD_ROWS = {
    "eight numbers": ({"lattice": first_is(FLAT[:8], FLAT)}, "nine lattice numbers"),
    "ten numbers": ({"lattice": first_is([*FLAT, 1.0], FLAT)}, "nine lattice numbers"),
    "a row of 2 in 3 x 3": ({"lattice": first_is([*CUBIC[:2], [0.0, 0.0]], CUBIC)}, "nine lattice numbers"),
    "no lattice": ({"lattice": first_is(None, FLAT)}, "has no lattice"),
    "no coordinates": ({"frac_coords": first_is(None, FLAT_SITES)}, "has no frac_coords"),
    "no elements": ({"atomic_numbers": first_is(None, [55, 17])}, "has no atomic_numbers"),
    "an empty row": ({"atomic_numbers": first_is([], [55, 17])}, "for every atomic number"),
    "a coordinate too few": ({"frac_coords": first_is(FLAT_SITES[:5], FLAT_SITES)}, "for every atomic number"),
    "not a number": ({"frac_coords": first_is([float("nan")] * 6, FLAT_SITES)}, "non-finite"),
    "infinite": ({"lattice": first_is([float("inf"), *FLAT[1:]], FLAT)}, "non-finite"),
    "null in a list": ({"frac_coords": first_is([None, *FLAT_SITES[1:]], FLAT_SITES)}, "non-finite"),
    "element 6.5": ({"atomic_numbers": first_is([6.5, 17.0], [55.0, 17.0])}, "hold 6.5, which is not an element"),
    "element 0": ({"atomic_numbers": first_is([0, 17], [55, 17])}, "unknown element"),
    "element -5": ({"atomic_numbers": first_is([-5, 17], [55, 17])}, "unknown element"),
    "element 120": ({"atomic_numbers": first_is([120, 17], [55, 17])}, "unknown element"),
    "element 10^12": ({"atomic_numbers": first_is([10**12, 17], [55, 17])}, "unknown element"),
    "element Xx": ({"atomic_numbers": first_is(["Xx", "Cl"], ["Cs", "Cl"])}, "hold Xx, which is not an element"),
    "text that is not JSON": ({"lattice": first_is("cubic", json.dumps(CUBIC))}, "are not a list: 'cubic'"),
    "a table that NumPy printed": (
        {"lattice": first_is(str(np.eye(3)), json.dumps(CUBIC))},
        "are not a list: '[[1. 0. 0.]\\n",
    ),
    "numbers between blanks": ({"lattice": first_is(" ".join(map(str, FLAT)), json.dumps(CUBIC))}, "are not a list"),
    "bytes of an array": (
        {"frac_coords": first_is(np.array(FLAT_SITES).tobytes(), json.dumps(SITES).encode())},
        "are not a list",
    ),
    "coordinates of n x 2": ({"frac_coords": first_is([[0.0, 0.0], [0.5, 0.5]], SITES)}, "for every atomic number"),
    "a ragged list": ({"frac_coords": first_is([[0.0, 0.0, 0.0], [0.5, 0.5]], SITES)}, "for every atomic number"),
    "element nan": ({"atomic_numbers": first_is([float("nan"), 17.0], [55.0, 17.0])}, "hold nan"),
    "no symbol": ({"atomic_numbers": first_is([None, "Cl"], ["Cs", "Cl"])}, "hold None"),
    "small letters": ({"atomic_numbers": first_is(["cs", "cl"], ["Cs", "Cl"])}, "hold cs"),
    "ions": ({"atomic_numbers": first_is(["Cs+", "Cl-"], ["Cs", "Cl"])}, "hold Cs+"),
    "element 2^63": ({"atomic_numbers": first_is([2**63, 17], [55, 17], pa.list_(pa.uint64()))}, "unknown element"),
    "JSON that is not a list": ({"frac_coords": first_is("{}", json.dumps(SITES))}, "are not a list"),
    "element 5_5": ({"atomic_numbers": first_is(["5_5", "17"], ["55", "17"])}, "hold 5_5"),
    "deuterium": ({"atomic_numbers": first_is(["D", "Cl"], ["Cs", "Cl"])}, "hold D, an isotope"),
    "a flag as element": ({"atomic_numbers": first_is("[true, 17]", "[55, 17]")}, "are not a list"),
    "digits with an underscore": (
        {"lattice": first_is(["4_12", *map(str, FLAT[1:])], [str(x) for x in FLAT])},
        "are not numbers",
    ),
    "an atom far away": ({"frac_coords": first_is([0, 0, 0, 1e300, 0.5, 0.5], FLAT_SITES)}, "away from the origin"),
    "an atom two million cells away": (
        {"frac_coords": first_is([0, 0, 0, 2e6, 0.5, 0.5], FLAT_SITES)},
        "away from the origin",
    ),
    "element -128": ({"atomic_numbers": first_is([-128, 17], [55, 17], pa.list_(pa.int8()))}, "unknown element"),
    "an empty struct": (
        {"lattice": first_is({"matrix": None}, {"matrix": CUBIC}, pa.struct([("matrix", NESTED)]))},
        "has no lattice",
    ),
    "no row in 3 x 3": ({"lattice": first_is([None, *CUBIC[1:]], CUBIC, NESTED)}, "nine lattice numbers"),
    "other elements": ({"elements": first_is(["Br", "Cs"], ["Cl", "Cs"])}, "lists Br, Cs"),
    "another chemical system": ({"chemsys": pa.array(["Br-Cs", "Cl-Cs"])}, "lists Br, Cs"),
    "another formula in bytes": ({"formula": pa.array([b"CsBr", b"CsCl"])}, "gives CsBr"),
    "another number of sites as text": ({"nsites": pa.array(["5", "2"])}, "gives 5, but it has 2 atoms"),
    "another volume as decimal": ({"volume": pa.array([Decimal("471.9"), Decimal("69.93")])}, "in another unit"),
    "another formula": ({"formula": pa.array(["CsBr", "CsCl"])}, "gives CsBr, but its atoms are CsCl"),
    "another pretty formula": ({"formula_pretty": pa.array(["CsBr", "ClCs"])}, "gives CsBr"),
    "another number of sites": ({"nsites": pa.array([5, 2])}, "gives 5, but it has 2 atoms"),
    "a volume in Bohr": ({"volume": pa.array([471.9, 69.93])}, "in another unit"),
    "flat": ({"lattice": first_is([*FLAT[:6], 0.0, 0.0, 0.0], FLAT)}, "flat lattice"),
    "in nm": ({"lattice": first_is([x / 10 for x in FLAT], FLAT)}, "cubic Angstrom per atom"),
    "in pm": ({"lattice": first_is([x * 100 for x in FLAT], FLAT)}, "cubic Angstrom per atom"),
    "Cartesian coordinates": ({"frac_coords": first_is([0.0] * 3 + [2.06] * 3, FLAT_SITES)}, "look like Cartesian"),
    "coordinates of one place": ({"frac_coords": first_is([0.5] * 6, FLAT_SITES)}, "overlap"),
    "a needle": ({"lattice": first_is([1e-9, 0, 0, 0, 3e5, 0, 0, 0, 3e5], FLAT)}, "Angstrom long"),
    "a sheet": ({"lattice": first_is([1e-3, 0, 0, 0, 300, 0, 0, 0, 300], FLAT)}, "Angstrom long"),
    "numbers near the largest": ({"lattice": first_is([1e308 * x for x in FLAT], FLAT)}, ""),
}


@pytest.mark.parametrize(("columns", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_has_its_reason_and_stops_no_other(tmp_path, columns, words):
    pq.write_table(table(**columns), tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet")
    assert len(source.properties()) == 2
    crystals = source.crystals(["mp-0", "mp-1"])
    for read in (crystals, Crystals.from_arrow(crystals.to_arrow())):
        bad, good = find_problems(read)
        assert good is None
        assert bad is not None
        assert words in bad
        graphs, problems = build_graphs(read)
        assert problems == [bad, None]
        assert graphs.n_nodes.tolist() == [0, 2]


NOTED = {
    "in Bohr": ([x * 1.889726 for x in FLAT], FLAT_SITES, "unusually far"),
    "in Angstrom, read as Bohr": ([x / 1.889726 for x in FLAT], FLAT_SITES, "unusually near"),
    "as it is": (FLAT, FLAT_SITES, ""),
    "in another cell": (FLAT, [-3.0, 0.0, 1.0, 0.5, -0.5, 0.5], ""),
}


@pytest.mark.parametrize(("lattice", "coordinates", "words"), NOTED.values(), ids=NOTED)
def test_unusual_crystals_are_noted(lattice, coordinates, words):
    read = Crystals.from_arrow(table(1, lattice=pa.array([lattice]), frac_coords=pa.array([coordinates])))
    assert find_problems(read) == [None]
    (note,) = find_notes(read)
    assert bool(note) == bool(words)
    assert words in note


SKEWED = {
    "one shear": [[4.12, 0, 0], [1e5 * 4.12, 4.12, 0], [0, 0, 4.12]],
    "two shears": [[4.12, 0, 0], [412e3, 4.12, 0], [412e3, 412e3, 4.12]],
    "a shear of two vectors": [[4.12, 0, 0], [0, 4.12, 0], [41.2 * 997, -41.2 * 1009, 4.12]],
}


@pytest.mark.parametrize("lattice", SKEWED.values(), ids=SKEWED)
def test_skewed_cells_are_the_crystals_that_they_are(lattice):
    kind = pa.list_(pa.int64())
    one = {"frac_coords": pa.array([[0.0] * 3]), "atomic_numbers": pa.array([[84]], type=kind)}
    crystals = Crystals.concatenate(
        [Crystals.from_arrow(table(1, lattice=pa.array([np.ravel(cell).tolist()]), **one)) for cell in (lattice, CUBIC)]
    )
    start = time.process_time()
    graphs, problems = build_graphs(crystals)
    assert time.process_time() - start < 5
    assert problems == [None, None]
    np.testing.assert_allclose(graphs[0].edge_length, graphs[1].edge_length, atol=1e-3)


def test_usual_cells_are_not_touched():
    crystals = Crystals.from_arrow(table())
    assert reduce_skewed_cells(crystals) is crystals


def test_a_frame_of_pandas_with_objects_is_read(tmp_path):
    frame = pd.DataFrame(
        {
            "material_id": [1, 2],
            "lattice": [np.array(CUBIC).tolist()] * 2,
            "frac_coords": [np.array(SITES).tolist()] * 2,
            "atomic_numbers": [np.array([55, 17], dtype=np.int16)] * 2,
        }
    )
    frame.to_parquet(tmp_path / "x.parquet")
    assert ParquetSource(tmp_path / "x.parquet").crystals(["2"]).atomic_numbers.tolist() == [55, 17]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_search_for_neighbours_of_many_odd_cells_hears_sigterm():
    program = (
        "import numpy as np, sys\n"
        "from mat2spec.crystals.arrays import Crystals\n"
        "from mat2spec.graphs.building import build_graphs\n"
        "odd = [np.array([[5, 0, 0], [1e5, 5, 0], [1e5, 1e5, 5]]), np.diag([1e-9, 3e5, 3e5]), np.eye(3) * 5] * 20000\n"
        "crystals = Crystals.from_lists([str(i) for i in range(len(odd))], [[26]] * len(odd), [np.zeros((1, 3))] * len(odd), odd)\n"
        "print('ready', flush=True)\n"
        "build_graphs(crystals)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == -signal.SIGTERM
    finally:
        child.kill()
