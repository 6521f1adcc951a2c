"""CIF files as programs and word processors write them: the crystal is the one that is meant, or a sentence says why not."""

from __future__ import annotations

import pytest

from mat2spec.crystals.cif_text import uniform
from mat2spec.crystals.numbers import measured_number, number_or_fraction, plain_number
from mat2spec.crystals.readers import read_structures
from tests.robustness.crystal_texts import cif, group

SYMBOLS = ("label", "type_symbol")
OPERATIONS = "_symmetry_equiv_pos_as_xyz"
CENTRED = [("", "", ""), ("", "1/2", "1/2"), ("1/2", "", "1/2"), ("1/2", "1/2", "")]
GROUP = group()
MOMENTS = (
    "loop_\n_atom_site_moment_label\n_atom_site_moment_crystalaxis_x\n_atom_site_moment_crystalaxis_y\n"
    "_atom_site_moment_crystalaxis_z\nFe1 0 0 2.2\n"
)


def listed(*texts, key=OPERATIONS):
    return "\n".join(["loop_", key, *(f"'{text}'" for text in texts)])


def centred(form, key=OPERATIONS):
    """The four translations of F, each component by a form with the letter v and the shift t."""
    components = [
        ",".join(form.format(v=v, t=t) if t else v for v, t in zip("xyz", shift, strict=True)) for shift in CENTRED
    ]
    return listed(*components, key=key)


def site(name, columns=("label",)):
    other = f"A1 Na 0 0 0\nB1 '{name}' .5 .5 .5" if "type_symbol" in columns else f"Na1 0 0 0\n{name} .5 .5 .5"
    return cif(other, GROUP, columns=columns)


SHIFTED = centred("{v}+{t}")
# Content, reduced formula, number of atoms in the primitive cell.
READ = {
    "blanks around commas": (cif(items=SHIFTED.replace(",", " , ")), "NaCl", 2),
    "blanks around signs": (cif(items=centred("{v} + {t}")), "NaCl", 2),
    "the shift first": (cif(items=centred("{t}+{v}")), "NaCl", 2),
    "capitals in operations": (cif(items=SHIFTED.replace("x", "X").replace("y", "Y")), "NaCl", 2),
    "decimal shifts": (cif(items=SHIFTED.replace("1/2", ".5")), "NaCl", 2),
    "shifts that are not shortened": (cif(items=SHIFTED.replace("1/2", "2/4")), "NaCl", 2),
    "factors": (cif(items=SHIFTED.replace("x", "1*x")), "NaCl", 2),
    "operations without quotes": (cif(items=SHIFTED.replace("'", "")), "NaCl", 2),
    "operations in double quotes": (cif(items=SHIFTED.replace("'", '"')), "NaCl", 2),
    "operations in both ways": (
        cif(items=f"{SHIFTED}\n{centred('{v}+{t}', '_space_group_symop_operation_xyz')}"),
        "NaCl",
        2,
    ),
    "operations with the names of CIF 2": (
        cif(items=centred("{v}+{t}", "_space_group_symop.operation_xyz")),
        "NaCl",
        2,
    ),
    "all names of CIF 2": (
        cif(items=GROUP).replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site."),
        "NaCl",
        2,
    ),
    "a header of CIF 2": ("#\\#CIF_2.0\n" + cif(items=GROUP), "NaCl", 2),
    "names in capitals": (
        cif(items=GROUP)
        .replace("_cell_length_a", "_CELL_LENGTH_A")
        .replace("_atom_site_fract_x", "_Atom_Site_Fract_X"),
        "NaCl",
        2,
    ),
    "symmetry in capitals": (cif(items=group(key="_SYMMETRY_SPACE_GROUP_NAME_H-M")), "NaCl", 2),
    "operations in capitals": (cif(items=centred("{v}+{t}", OPERATIONS.upper())), "NaCl", 2),
    "loops in capitals": (cif(items=SHIFTED).replace("loop_", "LOOP_"), "NaCl", 2),
    "elements in capitals": (cif("NA1 0 0 0\nCL1 .5 .5 .5", GROUP), "NaCl", 2),
    "cobalt in capitals": (cif("CO1 0 0 0\nO1 .5 .5 .5", GROUP, a=4.26), "CoO", 2),
    "elements in small letters": (cif("na1 0 0 0\ncl1 .5 .5 .5", GROUP), "NaCl", 2),
    "a formula in capitals": (cif(items=group(formula="NA CL", z=4)), "NaCl", 2),
    "a minus of a word processor": (cif("Na1 0 0 0\nCl1 \u2212.5 .5 .5", GROUP), "NaCl", 2),
    "a dash for minus": (cif("Na1 0 0 0\nCl1 .25 .25 .25\nCl2 \u2013.25 .25 .25", group("P 1"), a=9), "NaCl2", 3),
    "blanks that do not break": (cif(items=GROUP).replace(" ", "\u00a0"), "NaCl", 2),
    "quotes of a word processor": (cif(items=GROUP).replace("'", "\u2019"), "NaCl", 2),
    "wide digits": (cif("Na1 0 0 0\nCl1 \uff10.\uff15 .5 .5", GROUP), "NaCl", 2),
    "a subscript in the group": (cif("Na1 .1 .2 .3\nCl1 .6 .7 .8", group("P 2\u2081"), a=5.6), "NaCl", 4),
    "coordinates as fractions": (cif("Na1 0 0 0\nCl1 1/2 1/2 1/2", GROUP), "NaCl", 2),
    "exponents of Fortran": (cif("Na1 0 0 0\nCl1 5.0D-1 .5 .5", GROUP), "NaCl", 2),
    "uncertainties": (cif("Na1 0.0(1) 0 0\nCl1 .5(2) .500(10) .5", GROUP, a="5.640(12)"), "NaCl", 2),
    "old lines of the Macintosh": (cif(items=GROUP).replace("\n", "\r"), "NaCl", 2),
    "comments behind values": (cif("Na1 0 0 0 # here\nCl1 .5 .5 .5", GROUP), "NaCl", 2),
    "sites over several lines": (cif("Na1 0\n0 0\nCl1 .5\n.5 .5", GROUP), "NaCl", 2),
    "a formula between semicolons": (cif(items=f"{GROUP}\n_chemical_formula_sum\n;\nCl Na\n;"), "NaCl", 2),
    "a scattering factor of the valence": (site("Siva", SYMBOLS), "NaSi", 2),
    "a charge in parentheses": (site("Fe(3+)", SYMBOLS), "NaFe", 2),
    "a roman charge": (site("FeIII", SYMBOLS), "NaFe", 2),
    "half a charge": (site("Fe2.5+", SYMBOLS), "NaFe", 2),
    "two valences of one element": (
        cif("Fe1 Fe2+ .5 0 0 0\nFe2 Fe3+ .5 0 0 0\nO1 O2- 1 .5 .5 .5", GROUP, a=4.3, columns=(*SYMBOLS, "occupancy")),
        "FeO",
        2,
    ),
    "one group of disorder": (
        cif("Na1 . 0 0 0\nCl1 1 .5 .5 .5", GROUP, columns=("label", "disorder_group")),
        "NaCl",
        2,
    ),
    "letters of Wyckoff that agree": (
        cif("Na1 4 a 0 0 0\nCl1 4 b .5 .5 .5", GROUP, columns=("label", "symmetry_multiplicity", "Wyckoff_symbol")),
        "NaCl",
        2,
    ),
    "rhombohedral, by number": (
        cif(
            "Bi1 .4 .4 .4\nTe1 0 0 0\nTe2 .2097 .2097 .2097",
            "_space_group_IT_number 166",
            a=10.47,
            angles=(24.2,) * 3,
        ),
        "Te3Bi2",
        5,
    ),
    "moments without magnetic operations": (cif("Fe1 0 0 0", group("I m -3 m"), a=2.87) + MOMENTS, "Fe", 1),
}
NO_ATOMS = ("Vac1", "Va1", "Void", "Du1", "Dum1", "Cg1", "Cen1", "Cnt1", "Bq", "Em1", "Pn1", "Hal1", "57Fe1", "Q1")
NO_ELEMENTS = ("Vac", "Va", "Du", "Wa", "57Fe", "26", "Zz")
MIXTURES = ("Fe/Ni", "Fe,Ni", "Fe0.5Ni0.5", "(Fe,Ni)")
# Content, words of the reason.
REFUSED = {
    "semicolons between components": (
        cif(items=listed("x;y;z")),
        "'x;y;z' in the list of symmetry operations is not one",
    ),
    "other letters": (cif(items=listed("a,b,c")), "is not one"),
    "a word": (cif(items=listed("x,y,z", "hello")), "'hello' in the list"),
    "two components": (cif(items=listed("x,y,z", "x,y")), "is not one"),
    "a time reversal": (cif(items=listed("x,y,z,+1", "x,y,z,-1")), "is not one"),
    "half by a sign": (cif(items=listed("x,y,z", "x+\u20ac,y,z")), "is not one"),
    "an operation on a plane": (cif(items=listed("x,y,z", "0,y,z")), "is not one"),
    "a stretching": (cif(items=listed("x,y,z", "2x,y,z")), "is not one"),
    "no identity": (cif(items=listed("-x,-y,-z")), "do not form a group"),
    "a third of a group": (cif("Na1 .1 .2 .3\nCl1 .6 .7 .8", listed("x,y,z", "x+1/3,y,z")), "do not form a group"),
    **{f"the label {name}": (site(name), "is not an element") for name in NO_ATOMS},
    **{f"the symbol {name}": (site(name, SYMBOLS), "is not an element") for name in NO_ELEMENTS},
    **{f"the mixture {name}": (site(name, SYMBOLS), "more than one element") for name in MIXTURES},
    "a tetrahedron": (site("T1"), "tetrahedra or tritium"),
    "digits of another script": (cif("Na1 0 0 0\nCl1 \u0660.\u0665 .5 .5", GROUP), "'?.?', which is not a fraction"),
    "digits with an underscore": (cif("Na1 0 0 0\nCl1 0_5 .5 .5", GROUP), "'0_5', which is not a fraction"),
    "a blank before an uncertainty": (cif("Na1 0 (1) 0 0\nCl1 .5 .5 .5", GROUP), "values left over"),
    "two temperatures": (
        "data_x\nloop_\n_cell_length_a\n5.64\n5.70\n" + cif(items=GROUP).split("\n", 2)[2],
        "2 values for _cell_length_a",
    ),
    "no sites in their loop": (cif("", GROUP), "names but no values"),
    "more than one atom": (cif("Na1 1.5 0 0 0\nCl1 1 .5 .5 .5", GROUP, columns=("label", "occupancy")), "'1.5'"),
    "less than no atom": (cif("Na1 -1 0 0 0\nCl1 1 .5 .5 .5", GROUP, columns=("label", "occupancy")), "'-1'"),
    "an occupancy in words": (
        cif("Na1 full 0 0 0\nCl1 1 .5 .5 .5", GROUP, columns=("label", "occupancy")),
        "the occupancy 'full'",
    ),
    "images beside their site": (
        cif("Na1 0 0 0\nNa2 .5 .5 0\nCl1 .5 .5 .5", GROUP),
        "beside their own symmetric images",
    ),
    "alternatives": (
        cif("Na1 . 0 0 0\nCl1 1 .5 .5 .5\nCl2 2 .5 0 0", group("P 1"), columns=("label", "disorder_group")),
        "alternatives of each other",
    ),
    "letters of Wyckoff without operations": (
        cif("Na1 4 a 0 0 0\nCl1 4 b .5 .5 .5", columns=("label", "symmetry_multiplicity", "Wyckoff_symbol")),
        "the cell has 8 sites, but lists 2",
    ),
    "a hydrate by its structural formula": (
        cif(items=f"{GROUP}\n_chemical_formula_structural 'Na Cl . 2 H2 O'"),
        "H and O are in only one",
    ),
    "a group of half a number": (cif(items="_symmetry_Int_Tables_number 225.5"), "is not known"),
    "a group below none": (cif(items="_symmetry_Int_Tables_number -5"), "is not known"),
    "two groups by one name": (
        cif(items=f"{GROUP}\n_symmetry_space_group_name_H-M 'P 1'"),
        "_symmetry_space_group_name_H-M twice",
    ),
    "two volumes": (cif(items=f"{GROUP}\n_cell_volume 179.4\n_cell_volume 190"), "_cell_volume twice"),
    "an item without a value": (cif(items=f"_chemical_name_common\n{GROUP}"), "has no value"),
    "versions that were never merged": (
        cif(items=f"<<<<<<< HEAD\n{GROUP}\n=======\n{group('P 1')}\n>>>>>>> other"),
        "never merged",
    ),
    "a protein": (
        "data_1ABC\n"
        + "".join(f"_cell.length_{axis} 50\n" for axis in "abc")
        + "".join(f"_cell.angle_{axis} 90\n" for axis in ("alpha", "beta", "gamma"))
        + "loop_\n_atom_site.type_symbol\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\nN 0 0 0\nC 1.5 0 0\n",
        "_atom_site_label",
    ),
}


def read_one(folder, content):
    (folder / "x.cif").write_text(content, encoding="utf-8", newline="")
    (entry,) = read_structures([folder / "x.cif"])
    return entry


@pytest.mark.parametrize(("content", "formula", "n_atoms"), READ.values(), ids=READ)
def test_what_is_meant_is_read(tmp_path, content, formula, n_atoms):
    entry = read_one(tmp_path, content)
    assert entry.structure is not None, entry.reason
    assert entry.structure.composition.reduced_composition == type(entry.structure.composition)(formula)
    assert len(entry.structure) == n_atoms


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_a_crystal_of_atoms_is_refused(tmp_path, content, words):
    entry = read_one(tmp_path, content)
    assert entry.structure is None
    assert words in entry.reason
    assert "Error" not in entry.reason


@pytest.mark.parametrize("label", ["CO1", "RE1", "Ow1"])
def test_how_a_label_was_read_is_said_where_it_is_not_plain(tmp_path, label):
    assert f"'{label}' is read as" in read_one(tmp_path, site(label)).note


def test_signs_beyond_ascii_change_no_line_and_no_other_name():
    text = "# M\u00fcller\ndata_x\n_CELL_length_A 5\n_my_Own.name \u221e\n"
    assert uniform(text) == "# M?ller\ndata_x\n_cell_length_a 5\n_my_Own.name ?\n"


NUMBERS = {
    "1": 1.0,
    "-.5": -0.5,
    "+1.": 1.0,
    "1e-3": 1e-3,
    "5.0D-1": 0.5,
    "0_5": None,
    "": None,
    ".": None,
    "nan": None,
    "inf": None,
    "0x1": None,
    "\u0665": None,
    "1,5": None,
    "1 2": None,
}


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_only_plain_numbers_are_numbers(text, number):
    assert plain_number(text) == number


def test_uncertainties_and_fractions_are_numbers():
    assert measured_number(" 5.64(2) ") == measured_number("5.64(2") == 5.64
    assert measured_number("(2)") is None
    assert number_or_fraction("-1/3") == pytest.approx(-1 / 3)
    assert number_or_fraction("1/0") is None
