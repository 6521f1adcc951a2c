"""The label plan: shares of its parts in any prefix, the same order for the same seed, one crystal of a formula."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from dft_validation import DftSettings
from dft_validation.labels.choice import has_free_electrons
from dft_validation.labels.plan import Judges, make_plan, read_plan, write_plan
from dft_validation.labels.pool import make_pool
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import LabelPlanSettings, LabelSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.tables.files import TableError

METALS = ("Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Sc", "Y", "La", "Zr", "Hf", "Nb", "Zn", "Cd", "Ga")
ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "I", "H", "P")


@pytest.fixture(scope="module")
def pool():
    structures, names = [], []
    for metal in METALS:
        for anion in ANIONS:
            structures.append(Structure(Lattice.cubic(4.2), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]))
            names.append(f"{metal}-{anion}")
            structures.append(Structure(Lattice.cubic(4.4), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]))
            names.append(f"{metal}-{anion}-wide")
    settings = LabelSettings(max_sites=12, one_per_formula=True)
    excluded = LabelPlanSettings().excluded_elements
    return make_pool(Crystals.from_structures(structures, names), settings, DftSettings(), Reserved(), (), (), excluded)


def judged(crystals):
    return np.linspace(0, 1, len(crystals))


def plan_of(pool, n=160, seed=0):
    settings = LabelSettings(plan=LabelPlanSettings(n=n, seed=seed))
    return make_plan(pool, settings, Judges(judged, judged))


def test_every_block_holds_the_parts_by_their_shares_and_no_formula_comes_twice(pool):
    plan = plan_of(pool)
    parts = plan["part"].to_pylist()
    for first in range(0, 160, 40):
        block = Counter(parts[first : first + 40])
        assert block == {"random": 24, "likely_gapped": 10, "uncertain": 3, "rare_elements": 3}
    assert len(set(plan["formula"].to_pylist())) == 160


def test_a_seed_gives_one_order_and_a_shorter_plan_is_its_beginning(pool):
    assert plan_of(pool).equals(plan_of(pool))
    assert plan_of(pool, n=50).equals(plan_of(pool).slice(0, 50))
    assert not plan_of(pool, seed=1).equals(plan_of(pool))


def test_a_plan_ends_where_a_part_runs_out(pool):
    assert len(plan_of(pool, n=10_000)) <= len(METALS) * len(ANIONS)


def test_electrons_beyond_what_the_anions_take_are_free(pool):
    free = dict(zip(pool.crystals.material_ids, has_free_electrons(pool.crystals), strict=True))
    assert free["Mg-Cl"]
    assert free["Nb-O"]
    assert not free["Na-Cl"]
    assert not free["Na-O"]
    assert not free["Mg-H"]


def test_a_plan_is_read_back_and_another_table_is_refused(pool, tmp_path):
    plan = plan_of(pool, n=40)
    write_plan(tmp_path / "plan.parquet", plan, {"source": "x"}, Counter({"reserved": 2}))
    assert read_plan(tmp_path / "plan.parquet").equals(plan)
    pq.write_table(pa.table({"material_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(TableError, match="not a label plan"):
        read_plan(tmp_path / "other.parquet")
