"""The committed catalogue itself; runs without CHGNet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
from pymatgen.core import Element
from pymatgen.optimization.neighbors import find_points_in_spheres

from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.table import SCHEMA, read_metadata

PATH = Path(__file__).parents[3] / "data" / "catalogue.parquet"
LATTICE_CONSTANTS = {"NaCl": 5.69, "Si": 5.46, "SrVO3": 3.90, "KTaO3": 4.03, "LaNiO3": 3.86, "Al": 4.04, "Cu": 3.61}
CENTRING = {"NaCl": 4, "Si": 4, "Al": 4, "Cu": 4}


@pytest.fixture(scope="module")
def catalogue():
    return pq.read_table(PATH).to_pandas()


def test_it_is_small_and_holds_thousands_of_crystals(catalogue):
    assert PATH.stat().st_size < 5_000_000
    assert len(catalogue) >= 5000


def test_columns_and_types_are_the_projects(catalogue):
    assert pq.read_schema(PATH).remove_metadata().equals(SCHEMA)
    assert catalogue["band_gap"].isna().all()
    assert catalogue.drop(columns="band_gap").notna().all().all()


def test_identifiers_are_unique_and_sorted(catalogue):
    assert catalogue["material_id"].is_unique
    assert catalogue["material_id"].is_monotonic_increasing


def test_numbers_are_finite_and_shapes_agree(catalogue):
    assert (catalogue["lattice"].map(len) == 9).all()
    assert (catalogue["frac_coords"].map(len) == 3 * catalogue["nsites"]).all()
    assert (catalogue["atomic_numbers"].map(len) == catalogue["nsites"]).all()
    assert (catalogue["atomic_numbers"].map(lambda z: len(set(z))) == catalogue["nelements"]).all()
    for column in ("lattice", "frac_coords"):
        assert np.isfinite(np.concatenate(catalogue[column].to_numpy())).all()
    numbers = catalogue.select_dtypes("number").drop(columns="band_gap")
    assert np.isfinite(numbers.to_numpy(dtype=float)).all()


def test_every_crystal_is_near_the_hull_and_relaxed(catalogue):
    settings = CatalogueSettings()
    assert catalogue["energy_above_hull"].between(0, settings.max_energy_above_hull).all()
    assert (catalogue["max_force_ev_per_a"] <= settings.loose_force_ev_per_a).all()
    assert (catalogue["max_stress_gpa"] <= settings.loose_stress_gpa).all()
    assert catalogue["converged"].mean() > 0.95


def test_stable_elements_define_the_energy_zero(catalogue):
    elements = catalogue[catalogue["nelements"] == 1]
    stable = elements[elements["energy_above_hull"] == 0]
    assert (stable["formation_energy_per_atom"].abs() < 1e-5).all()
    assert stable["formula"].nunique() > 60


def test_no_crystal_appears_twice(catalogue):
    volume = catalogue["lattice"].map(lambda x: abs(np.linalg.det(np.reshape(x, (3, 3))))) / catalogue["nsites"]
    keys = pd.DataFrame(
        {
            "formula": catalogue["formula"],
            "space_group": catalogue["space_group_number"],
            "prototype": catalogue["prototype"],
            "volume": volume.round(2),
            "energy": catalogue["formation_energy_per_atom"].round(3),
        }
    )
    assert not keys.duplicated().any()


@pytest.mark.parametrize(("formula", "expected"), LATTICE_CONSTANTS.items())
def test_known_cubic_crystals_have_their_lattice_constants(catalogue, formula, expected):
    rows = catalogue[(catalogue["formula"] == formula) & (catalogue["space_group_number"].isin([221, 225, 227]))]
    constants = [
        (CENTRING.get(formula, 1) * abs(np.linalg.det(np.reshape(lattice, (3, 3))))) ** (1 / 3)
        for lattice in rows["lattice"]
    ]
    assert any(constant == pytest.approx(expected, abs=0.04) for constant in constants)


def test_magnesium_diboride_is_there(catalogue):
    assert ((catalogue["formula"] == "MgB2") & (catalogue["space_group_number"] == 191)).any()


def test_both_origins_and_metals_with_anions_are_there(catalogue):
    assert (catalogue["origin"] == "aflow").sum() > 150
    anions = {Element(symbol).Z for symbol in ("N", "O", "F", "S", "Cl", "Se", "Br", "I")}
    metals = {z for z in range(1, 84) if Element.from_Z(z).is_transition_metal}
    holds = catalogue["atomic_numbers"].map(lambda z: bool(anions & set(z)) and bool(metals & set(z)))
    assert (holds & ~catalogue["charge_balanced"]).sum() > 500
    assert (holds & catalogue["charge_balanced"]).sum() > 300


def test_no_two_atoms_are_unphysically_close(catalogue):
    settings = CatalogueSettings()
    radii = np.array([1.6] + [CovalentRadius.radius.get(Element.from_Z(z).symbol, 1.6) for z in range(1, 95)])
    for row in catalogue.itertuples():
        lattice = np.reshape(row.lattice, (3, 3)).astype(float)
        cartesian = np.reshape(row.frac_coords, (-1, 3)).astype(float) @ lattice
        numbers = np.asarray(row.atomic_numbers)
        centers, sites, _, lengths = find_points_in_spheres(
            cartesian, cartesian, r=3.0, pbc=np.ones(3, dtype=np.int64), lattice=lattice, tol=1e-8
        )
        apart = lengths > 1e-3
        ratio = lengths[apart] / (radii[numbers[centers[apart]]] + radii[numbers[sites[apart]]])
        assert ratio.min(initial=1.0) > settings.min_final_contact - 0.01, row.material_id


def test_metadata_tell_how_it_was_made(catalogue):
    metadata = read_metadata(PATH)
    assert CatalogueSettings(**metadata["settings"]) == CatalogueSettings()
    assert metadata["counts"]["crystals kept"] == len(catalogue)
    counts = metadata["counts"]
    assert counts["candidates relaxed"] == len(catalogue) + sum(counts["dropped"].values())
    assert {"chgnet", "pymatgen", "torch"} <= set(metadata["versions"])
