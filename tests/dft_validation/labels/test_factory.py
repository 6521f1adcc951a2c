"""The label factory: what is computed once is kept, whatever stops it; what is reserved is never touched."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dft_validation.engines import register_engine
from dft_validation.engines.gpaw import GpawEngine
from dft_validation.labels.factory import LabelError
from dft_validation.labels.plan import Judges, read_plan
from dft_validation.labels.reserved import Reserved
from dft_validation.settings import LabelPlanSettings
from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import read_edos_store
from mat2spec.labels.readers.data_folder import load_edos
from screening.sources.base import SourceError
from tests.dft_validation.labels.conftest import no_progress


def ids_in(factory):
    return factory.store.labels()["material_id"].to_pylist()


def test_labels_carry_crystal_spectrum_and_origin(fake_engine, make_factory, source):
    factory = make_factory()
    report = factory.label_ids(["na", "k"], no_progress)
    assert (report.n_new, report.n_finished, report.n_failed) == (2, 2, 0)
    # The fake worker says 2 CPU seconds a job.
    assert report.materials_per_core_hour == pytest.approx(1800)
    table = read_edos_store(factory.store.path)
    assert table["material_id"].to_pylist() == ["k", "na"]
    row = table.to_pylist()[1]
    assert (row["engine"], row["engine_version"], row["functional"], row["spin"]) == (
        "fake",
        "fake-1",
        "PBE",
        "unpolarised",
    )
    assert (row["formula"], row["nsites"], row["selected_as"], row["u_values"]) == ("Na", 1, "ids", "{}")
    assert row["source"] == source.db_version()
    assert row["settings_hash"] == factory.dft.settings_hash
    assert len(row["edos"]) == 128
    np.testing.assert_allclose(Crystals.from_arrow(table).lattices[1], 3.0 * np.eye(3))


def test_nothing_is_computed_or_stored_twice(fake_engine, make_factory):
    factory = make_factory()
    factory.label_ids(["na", "k", "na"], no_progress)
    content = factory.store.path.read_bytes()
    again = factory.label_ids(["na", "k"], no_progress)
    assert fake_engine.runs == 2
    assert (again.n_new, again.n_finished) == (0, 2)
    assert factory.store.path.read_bytes() == content


def test_the_fallback_engine_labels_what_the_first_lacks_and_collecting_finds_it(
    fake_engine, make_factory, settings, tmp_path
):
    @dataclass(frozen=True)
    class WithoutSodium(GpawEngine):
        def find_unsupported(self, atomic_numbers):
            return ["Na"] if 11 in atomic_numbers else []

        def version(self):
            return "without sodium"

    register_engine(WithoutSodium(name="first", worker=("nothing",), package="numpy"))
    dft = settings.model_copy(update={"engine": "first", "fallback_engine": "fake"})
    alone = make_factory(dft=settings.model_copy(update={"engine": "first"}), n=10)
    chosen, left_out = alone._choose_ids()
    assert (left_out["an element that first lacks"], "na" in chosen) == (2, False)
    factory = make_factory(dft=dft)
    assert "na" in make_factory(dft=dft, n=10, one_per_formula=False)._choose_ids()[0]
    assert factory.label_ids(["na"], no_progress).n_finished == 1
    elsewhere = make_factory(dft=dft, store=tmp_path / "other.parquet")
    assert elsewhere.collect(["na"], no_progress).n_finished == 1
    assert elsewhere.store.labels()["engine"].to_pylist() == ["fake"]


def test_collecting_computes_nothing(fake_engine, make_factory, tmp_path):
    make_factory().label_ids(["na", "k"], no_progress)
    elsewhere = make_factory(store=tmp_path / "other.parquet")
    report = elsewhere.collect(None, no_progress)
    assert fake_engine.runs == 2
    assert (report.n_new, report.n_not_computed) == (2, 7)
    assert ids_in(elsewhere) == ["k", "na"]
    assert elsewhere.collect(["al"], no_progress).n_not_computed == 1


def test_a_reserved_material_and_its_formula_are_never_computed(fake_engine, make_factory):
    reserved = Reserved(frozenset({"na"}), frozenset({"Na"}), "hash")
    factory = make_factory(reserved, n=10, one_per_formula=False)
    report = factory.label_ids(["na", "na-2", "k"], no_progress)
    assert report.left_out["reserved"] == 2
    assert factory.label_chosen(no_progress).left_out["reserved"] == 2
    assert {"na", "na-2"}.isdisjoint(ids_in(factory))
    assert factory.collect(None, no_progress).left_out["reserved"] == 2
    # Not even where an earlier, careless run has computed it.
    make_factory(store=factory.store.path.with_name("careless.parquet")).label_ids(["na"], no_progress)
    assert "na" not in ids_in(factory)
    factory.collect(None, no_progress)
    assert "na" not in ids_in(factory)


def test_a_bad_structure_is_a_row_with_its_reason_and_the_others_go_on(fake_engine, make_factory):
    factory = make_factory()
    report = factory.label_ids(["flat", "na"], no_progress)
    assert (report.n_finished, report.n_failed) == (1, 1)
    (failure,) = factory.store.failures().to_pylist()
    assert (failure["material_id"], failure["formula"], failure["status"]) == ("flat", "Sr", "invalid_structure")
    assert "flat lattice" in failure["reason"]


def test_a_failed_job_leaves_the_failures_once_it_has_a_label(fake_engine, make_factory):
    factory = make_factory()
    fake_engine.use("crash")
    assert factory.label_ids(["na"], no_progress).n_failed == 1
    assert "Segmentation fault" in factory.store.failures()["reason"][0].as_py()
    assert not factory.store.path.exists()
    fake_engine.use("ok")
    factory.label_ids(["na"], no_progress)
    assert len(factory.store.failures()) == 0
    assert ids_in(factory) == ["na"]


def test_a_choice_continues_with_new_crystals_and_ends_with_a_sentence(fake_engine, make_factory):
    factory = make_factory(n=4)
    assert factory.label_chosen(no_progress).n_new == 4
    second = factory.label_chosen(no_progress)
    # Six elements, one of them twice, fit the default limits; the flat cell fails.
    assert second.n_new == 2
    assert second.left_out["an element that is often magnetic"] == 1
    assert len({row["formula"] for row in factory.store.labels().to_pylist()}) == 6
    with pytest.raises(LabelError, match="No crystal of the source is left to label"):
        factory.label_chosen(no_progress)


def test_what_was_too_large_is_chosen_once_the_limit_allows_it(fake_engine, make_factory, settings):
    small = make_factory(n=1, dft=settings.model_copy(update={"max_estimated_cpu_seconds": 0.001}))
    with pytest.raises(LabelError, match="No crystal of the source is left to label"):
        small.label_chosen(no_progress)
    statuses = {row["status"] for row in small.store.failures().to_pylist()}
    assert "too_large" in statuses
    assert len(small.store.labels()) == 0
    assert make_factory(n=1).label_chosen(no_progress).n_new == 1


def test_an_interrupted_choice_resumes_with_the_same_crystals(fake_engine, make_factory, settings):
    one_worker = settings.model_copy(update={"workers": 1})
    whole = make_factory(dft=one_worker, n=4, store=settings.cache_dir.parent / "whole.parquet")
    expected = whole._choose_ids()[0]

    class StoppedError(Exception):
        pass

    def stop(done, _total):
        if done == 2:
            raise StoppedError

    factory = make_factory(dft=one_worker, n=4)
    with pytest.raises(StoppedError):
        factory.label_chosen(stop)
    kept = ids_in(factory)
    assert set(kept) < set(expected)
    assert len(kept) >= 2
    report = factory.label_chosen(no_progress)
    assert ids_in(factory) == sorted(expected)
    assert report.n_new == 4 - len(kept)
    assert fake_engine.runs == 4


def test_a_killed_labelling_loses_no_finished_job(fake_engine, make_factory):
    factory = make_factory(n=4, save_every_s=1000)

    class KilledError(Exception):
        pass

    def stop(done, _total):
        if done == 4:
            raise KilledError

    with pytest.raises(KilledError):
        factory.label_chosen(stop)
    factory.store.path.unlink()  # what kill -9 leaves: documents in the cache, nothing in the store
    report = factory.label_chosen(no_progress)
    assert (report.n_new, fake_engine.runs) == (4, 4)


def test_a_damaged_list_of_chosen_crystals_gives_a_sentence(fake_engine, make_factory):
    factory = make_factory()
    factory._plan_path().parent.mkdir(parents=True)
    factory._plan_path().write_text('["na", ')
    with pytest.raises(LabelError, match=r"list of chosen crystals .* is damaged"):
        factory.label_chosen(no_progress)


def test_formulas_that_are_labelled_elsewhere_are_not_chosen(fake_engine, make_factory):
    factory = replace(make_factory(n=10), labelled_formulas=frozenset({"Na", "K"}))
    report = factory.label_chosen(no_progress)
    assert report.left_out["a formula that has a label"] == 3
    assert ids_in(factory) == ["al", "ca", "mg", "ti"]


def test_labels_are_saved_on_the_way(fake_engine, make_factory):
    factory = make_factory(save_every_s=0)
    seen = []
    factory.label_ids(["na", "k", "al"], lambda *_: seen.append(len(factory.store.labels())))
    assert seen == [1, 2, 3]


def test_the_least_certain_crystals_come_first(fake_engine, make_factory):
    def uncertainty(crystals):
        return np.where(crystals.atomic_numbers == 22, 9.0, np.where(crystals.atomic_numbers == 13, 5.0, np.nan))

    factory = make_factory(choice="uncertainty", uncertainty=uncertainty)
    factory.label_chosen(no_progress)
    assert ids_in(factory) == ["al", "ti"]
    assert set(factory.store.labels()["selected_as"].to_pylist()) == {"uncertainty"}


def test_an_unknown_crystal_gives_a_sentence(fake_engine, make_factory):
    with pytest.raises(SourceError, match=r"1 of 2 materials are not in .*, the first being nobody"):
        make_factory().label_ids(["na", "nobody"], no_progress)


def test_an_engine_that_cannot_be_used_is_said_before_anything_is_chosen(make_factory, settings):
    factory = make_factory(dft=settings.model_copy(update={"engine": "nothing"}))
    with pytest.raises(ValueError, match="nothing"):
        factory.label_chosen(no_progress)


def test_training_reads_what_the_factory_wrote(fake_engine, make_factory):
    factory = make_factory()
    factory.label_ids(["na", "k", "al"], no_progress)
    data = load_edos(None, GraphSettings(), [factory.store.path])
    assert data.material_ids.tolist() == ["al", "k", "na"]
    assert set(data.sources) == {"store.parquet"}


class TestPlan:
    @pytest.fixture
    def plan(self, make_factory, tmp_path):
        """Label the plan at `plan.parquet` into a folder of shards."""

        def label(**changes):
            settings = {"store": tmp_path / "shards", "keep_crystals": False, "plan": LabelPlanSettings(n=4), **changes}
            judge = lambda crystals: np.zeros(len(crystals))  # noqa: E731
            factory = make_factory(**settings)
            return factory, factory.label_plan(tmp_path / "plan.parquet", Judges(judge, judge), no_progress)

        return label

    def test_it_is_made_once_and_labelled_by_id(self, plan, tmp_path, fake_engine):
        factory, report = plan()
        made = (tmp_path / "plan.parquet").read_bytes()
        labels = factory.store.labels()
        assert report.n_finished == len(labels) == fake_engine.runs > 0
        assert labels["atomic_numbers"].null_count == len(labels)
        assert set(labels["selected_as"].to_pylist()) <= set(read_plan(tmp_path / "plan.parquet")["part"].to_pylist())
        _, again = plan()
        assert (again.n_new, fake_engine.runs) == (0, len(labels))
        assert (tmp_path / "plan.parquet").read_bytes() == made

    def test_what_the_machine_ended_is_tried_again_and_not_blamed_on_the_crystal(self, plan, fake_engine):
        fake_engine.use("killed")
        factory, report = plan()
        assert report.n_finished == 0
        assert report.n_not_computed > 0
        assert factory.store.failures().num_rows == 0
        fake_engine.use("ok")
        assert plan()[1].n_finished == report.n_not_computed
