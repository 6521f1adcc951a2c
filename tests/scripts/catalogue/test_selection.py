"""What is dropped from the catalogue."""

import pandas as pd
from pymatgen.core import Lattice, Structure

from scripts.catalogue.selection import select
from scripts.catalogue.settings import CatalogueSettings


def row(material_id, species, constant, energy, origin="substitution", **changes):
    structure = Structure(Lattice.cubic(constant), species, [[0, 0, 0], [0.5, 0.5, 0.5]][: len(species)])
    values = {
        "material_id": material_id,
        "prototype": "AB_cP2_221_b_a",
        "origin": origin,
        "atomic_numbers": [site.specie.Z for site in structure],
        "lattice": structure.lattice.matrix.ravel(),
        "frac_coords": structure.frac_coords.ravel(),
        "energy_per_atom": energy,
        "max_force_ev_per_a": 0.0,
        "max_stress_gpa": 0.0,
        "relaxation_steps": 5,
        "converged": True,
        "contact": 1.0,
        "collapsed": False,
    }
    return values | changes


def test_each_reason_drops_its_crystal_and_is_counted():
    rows = pd.DataFrame(
        [
            row("al", ["Al"], 2.9, -3.0),
            row("ni", ["Ni"], 2.5, -5.0),
            row("good", ["Al", "Ni"], 2.9, -4.7),
            row("known", ["Al", "Ni"], 2.9, -4.7, origin="aflow"),
            row("high", ["Al", "Ni"], 3.1, -4.0),
            row("collapsed", ["Al", "Ni"], 1.0, -9.0, collapsed=True),
            row("tense", ["Al", "Ni"], 2.0, -9.0, max_stress_gpa=50.0),
            row("close", ["Al", "Ni"], 2.0, -9.0, contact=0.5),
            row("deep", ["Al", "Ni"], 2.9, -40.0),
            row("orphan", ["Al", "Xe"], 2.9, -4.0),
            row("apart", ["Al", "Ni"], 5.2, -4.68),
        ]
    )
    selection = select(rows, CatalogueSettings(), lambda text: None)
    assert set(selection.rows["material_id"]) == {"al", "ni", "known"}
    assert {reason for reason, count in selection.dropped.items() if count == 1} == {
        "collapsed", "not relaxed", "atoms too close", "unphysical energy", "element without a reference",
        "above the hull", "fallen apart", "duplicate of another crystal",
    }  # fmt: skip


def test_only_the_lowest_polymorphs_of_a_formula_stay():
    rows = [row("al", ["Al"], 2.9, -3.0), row("ni", ["Ni"], 2.5, -5.0)]
    rows += [row(f"p{i}", ["Al", "Ni"], 2.7 + 0.1 * i, -4.7 + 0.02 * i) for i in range(4)]
    selection = select(pd.DataFrame(rows), CatalogueSettings(max_polymorphs=2), lambda text: None)
    assert set(selection.rows["material_id"]) == {"al", "ni", "p0", "p1"}
    assert selection.dropped["further polymorph of a formula"] == 2


def test_of_equal_crystals_the_more_symmetric_prototype_stays():
    rows = [row("al", ["Al"], 2.9, -3.0), row("ni", ["Ni"], 2.5, -5.0)]
    rows += [
        row("cubic", ["Al", "Ni"], 2.9, -4.700),
        row("tetragonal", ["Al", "Ni"], 2.9, -4.701, prototype="AB_tP2_123_a_d"),
    ]
    selection = select(pd.DataFrame(rows), CatalogueSettings(), lambda text: None)
    assert set(selection.rows["material_id"]) == {"al", "ni", "cubic"}
