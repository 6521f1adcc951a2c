"""The stages on a small source, with shipped weights and a fake DFT engine."""

import json
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pymatgen.core import Composition

import mat2spec
from flows import pipeline, stages
from flows.settings_layers import load_settings
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.prediction import predictions_table
from screening.choose.candidates import NoCandidatesError
from screening.classify.gapped_metals import best_cut
from screening.progress import no_progress
from screening.runs.folder import RunFolder
from screening.runs.record import RunError
from screening.runs.schemas import TABLES_OF_A_FUNNEL, TableName
from screening.sources.opening import open_source

N_MATERIALS, N_CANDIDATES, N_MODELS = 19, 17, 2
STAGES_OF_A_FUNNEL = [stage.name for stage in pipeline.PIPELINE if {*stage.writes} & {*TABLES_OF_A_FUNNEL}]


def run_all(settings, progress=no_progress):
    counts = {}

    def do(stage):
        done = pipeline.run_stage(stage, run, settings, progress)
        counts[stage.name] = done.counts
        return done

    with pipeline.open_run(settings) as run:
        pipeline.run_stages(run, settings, pipeline.stages_of(settings), do)
    return run, counts


def test_all_stages_write_their_tables_and_counts(settings, fake_engine):
    run, counts = run_all(settings)
    assert counts["find_candidates"] == {"materials": N_MATERIALS, "candidates": N_CANDIDATES}
    assert counts["predict_spectra"] == {"predictions": N_MODELS * N_CANDIDATES, "failed": N_MODELS}
    assert all(run.has_table(name) for name in TableName if name not in TABLES_OF_A_FUNNEL)
    stages_recorded = run.info["stages"]
    assert list(stages_recorded) == [stage.name for stage in pipeline.PIPELINE if stage.name not in STAGES_OF_A_FUNNEL]
    assert stages_recorded["run_dft"]["counts"]["computed"] == len(list(fake_engine.iterdir())) > 0
    assert run.path.parent.joinpath("latest").resolve() == run.path


def test_a_bad_crystal_is_a_row_with_its_reason(settings, fake_engine):
    run, _ = run_all(settings)
    predictions = run.read_table(TableName.PREDICTIONS)
    failed = predictions[predictions["status"] != "ok"]
    assert set(failed["material_id"]) == {"overlap"}
    assert failed["reason"].str.contains("apart").all()
    assert failed["edos"].isna().all()
    classes = run.read_table(TableName.CLASSIFICATIONS)
    assert classes.loc[classes["material_id"] == "overlap", "is_gapped_metal"].isna().all()


def test_dft_spectra_are_classified_by_the_rule_of_the_predictions(settings, fake_engine):
    run, _ = run_all(settings)
    results = run.read_table(TableName.DFT_RESULTS)
    assert (results["status"] == "ok").all()
    assert results["is_gapped_metal"].notna().all()
    jobs = run.read_table(TableName.DFT_JOBS)
    assert set(jobs["status"]) == {"ok"}
    table = run.read_table(TableName.PRECISION_RECALL)
    assert set(table["model"]) == {"mat2spec", "gatgnn"}
    assert set(table["reference"]) == {"fake"}


def test_runs_repeat_to_the_bit(settings, fake_engine):
    first, _ = run_all(settings)
    second, _ = run_all(settings)
    assert first.run_id != second.run_id
    for name in (TableName.PREDICTIONS, TableName.CLASSIFICATIONS):
        assert first.read_arrow(name).equals(second.read_arrow(name))
    # The second run finds the DFT in the cache: the same picks, at no cost.
    columns = ["material_id", "selected_as", "rank", "status"]
    assert first.read_arrow(TableName.DFT_JOBS, columns).equals(second.read_arrow(TableName.DFT_JOBS, columns))
    assert first.read_arrow(TableName.DFT_RESULTS, ["edos"]).equals(second.read_arrow(TableName.DFT_RESULTS, ["edos"]))
    assert len(list(fake_engine.iterdir())) == first.read_arrow(TableName.DFT_JOBS).num_rows


def test_shards_do_not_change_predictions(settings, assignments, fake_engine):
    in_shards, _ = run_all(settings)
    whole, _ = run_all(load_settings(None, [*assignments, "prediction.shard_size=1000", "run_dft=false"]))
    order = [("material_id", "ascending"), ("model", "ascending")]
    shards, at_once = (run.read_arrow(TableName.PREDICTIONS).sort_by(order) for run in (in_shards, whole))
    assert shards["material_id"].equals(at_once["material_id"])
    assert shards["weights_hash"].equals(at_once["weights_hash"])
    for left, right in zip(shards["edos"].to_pylist(), at_once["edos"].to_pylist(), strict=True):
        assert left == right if left is None else left == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_an_interrupted_run_resumes_where_it_stopped(settings, fake_engine, monkeypatch):
    done = []
    original = pipeline.run_shard

    def stop_at_the_third(stage, run, settings, shard, on_batch, prepared):
        if shard.index == 2 and not done.count(2):
            done.append(2)
            raise KeyboardInterrupt
        done.append(shard.index)
        return original(stage, run, settings, shard, on_batch, prepared)

    monkeypatch.setattr(pipeline, "run_shard", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_all(settings)
    unfinished = next(settings.results_dir.glob("*/run.json"))
    assert json.loads(unfinished.read_text())["status"] == "interrupted"
    assert len(list(unfinished.parent.glob("shards/predictions/*.parquet"))) == 2
    written = {path: path.stat().st_mtime_ns for path in unfinished.parent.glob("*.parquet")}

    run, _ = run_all(settings)
    assert run.path == unfinished.parent
    assert run.info["resumed"] == 1
    assert run.read_arrow(TableName.PREDICTIONS).num_rows == N_MODELS * N_CANDIDATES
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert not (run.path / "shards").exists()


def test_finished_shards_are_not_predicted_again(settings, fake_engine, monkeypatch):
    find, predict = pipeline.BY_NAME["find_candidates"], pipeline.BY_NAME["predict_spectra"]
    with pipeline.open_run(settings) as run:
        pipeline.run_stage(find, run, settings)
        shards = pipeline.shards_to_do(predict, run, settings)
        assert [(shard.start, shard.stop) for shard in shards] == [(0, 5), (5, 10), (10, 15), (15, 17)]
        pipeline.run_shard(predict, run, settings, shards[0])
        pipeline.run_stage(predict, run, settings)
        assert run.has_table(TableName.PREDICTIONS)
        assert pipeline.shards_to_do(predict, run, settings) == []
        monkeypatch.setattr(stages, "load_predictors", lambda settings: pytest.fail("predicted again"))
        assert pipeline.run_shard(predict, run, settings, shards[0]) == 10


def test_the_next_shard_is_prepared_while_one_is_predicted(settings, fake_engine, monkeypatch):
    events, prepared_next = [], threading.Event()

    def prepare(crystals, settings, sizes):
        assert len(sizes) == len(crystals)
        events.append(("prepared", len(crystals)))
        if len(events) > 1:
            prepared_next.set()
        return crystals

    def predict(crystals, settings, on_batch):
        first = not any(name == "predicted" for name, _ in events)
        assert not first or prepared_next.wait(20), "nothing is prepared while the first shard is predicted"
        events.append(("predicted", len(crystals)))
        return pa.concat_tables(
            predictions_table(one) for one in mat2spec.predict_with_models(predictors, crystals, on_batch)
        )

    predictors = stages.load_predictors(settings.prediction)
    stage = replace(pipeline.BY_NAME["predict_spectra"], prepare=prepare, shard=predict)
    with pipeline.open_run(settings) as run:
        pipeline.run_stage(pipeline.BY_NAME["find_candidates"], run, settings)
        pipeline.run_stage(stage, run, settings)
        assert run.count_rows(TableName.PREDICTIONS) == N_MODELS * N_CANDIDATES
    assert [size for name, size in events if name == "predicted"] == [5, 5, 5, 2]
    assert len(events) == 8


def test_progress_reaches_the_total(settings, fake_engine):
    seen = []
    run_all(settings, lambda done, total: seen.append((done, total)))
    assert (N_MODELS * N_CANDIDATES, N_MODELS * N_CANDIDATES) in seen
    assert all(done <= total for done, total in seen)


def test_without_dft_the_jobs_are_planned_and_not_run(assignments, fake_engine):
    run, counts = run_all(load_settings(None, [*assignments, "run_dft=false"]))
    assert counts["queue_dft"]["queued"] > 0
    assert not run.has_table(TableName.DFT_RESULTS)
    assert list(fake_engine.iterdir()) == []


def test_an_engine_that_is_missing_leaves_reasons_and_empty_tables(assignments, fake_engine, monkeypatch):
    from dft_validation.engines import register_engine
    from dft_validation.engines.gpaw import GpawEngine

    register_engine(GpawEngine(name="fake", worker=("nothing",), package="no_such_package"))
    run, counts = run_all(load_settings(None, assignments))
    assert counts["queue_dft"]["queued"] == 0
    assert set(run.read_table(TableName.DFT_JOBS)["status"]) == {"engine_unavailable"}
    assert counts["run_dft"] == {"computed": 0, "failed": 0, "gapped_metals": 0}
    assert set(run.read_table(TableName.PRECISION_RECALL)["n"]) == {0}


def test_no_candidates_is_a_sentence_that_names_the_filter(assignments, fake_engine):
    settings = load_settings(None, [*assignments, "filters.allowed_elements=[Xe]"])
    with pytest.raises(NoCandidatesError, match="'elements allowed' removed the most"):
        run_all(settings)


def test_the_source_is_not_opened_again_once_the_candidates_are_found(
    assignments, crystals_path, tmp_path, fake_engine
):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(crystals_path.read_bytes())
    settings = load_settings(None, [*assignments, f"source.path={copy}"])
    first, *rest = pipeline.stages_of(settings)
    with pipeline.open_run(settings) as run:
        pipeline.run_stage(first, run, settings)
        copy.unlink()
        pipeline.run_stages(run, settings, rest, lambda stage: pipeline.run_stage(stage, run, settings))
    assert run.is_finished
    assert all(run.has_table(name) for name in TableName if name not in TABLES_OF_A_FUNNEL)


def test_the_crystals_of_a_run_are_those_of_its_source_to_the_bit(settings, fake_engine):
    run, _ = run_all(settings)
    ids = run.read_table(TableName.CANDIDATES)["material_id"].tolist()[::-1]
    ours, theirs = run.crystals(ids), open_source(settings.source).crystals(ids)
    assert ours.material_ids.tolist() == ids
    for name in ("atomic_numbers", "frac_coords", "lattices", "offsets"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    with pytest.raises(RunError, match="1 of 2 materials are not candidates of the run"):
        run.crystals([ids[0], "unstable"])


def test_a_run_keeps_the_calibrated_cut_that_it_began_with(settings, fake_engine, monkeypatch):
    with pipeline.open_run(settings) as run:
        assert run.info["settings"]["gap"]["min_probability"] == best_cut()
    monkeypatch.setattr("screening.classify.gapped_metals.best_cut", lambda: 0.77)
    with pipeline.open_run(settings) as another:
        assert another.run_id != run.run_id
        assert another.info["settings"]["gap"]["min_probability"] == 0.77


def test_an_attached_folder_serves_a_stage(settings, fake_engine):
    find = pipeline.BY_NAME["find_candidates"]
    with pipeline.open_run(settings) as run:
        done = pipeline.run_stage(find, RunFolder.attach(run.path), settings)
        assert run.info["stages"]["find_candidates"]["counts"] == done.counts
        assert pipeline.run_stage(find, run, settings).counts == done.counts


def test_every_stage_reads_what_a_stage_before_it_writes_and_nothing_else(settings, fake_engine):
    written = set()
    for stage in pipeline.PIPELINE:
        own = set(stage.writes) if stage.shard else set()
        assert set(stage.reads) <= written | own, stage.name
        written |= set(stage.writes)
    assert written == set(TableName)
    with pipeline.open_run(settings) as run:
        inputs = stages.Inputs(run, pipeline.BY_NAME["evaluate"].reads)
        with pytest.raises(KeyError, match="does not declare that it reads the table 'crystals'"):
            inputs.crystals(["NaO"])


def test_published_predictions_are_screened_and_validated_like_a_model(settings, fake_engine, tmp_path):
    own, _ = run_all(settings)
    rows = own.read_table(TableName.PREDICTIONS).query("model == 'mat2spec' and status == 'ok'")
    path = tmp_path / "published.npz"
    np.savez(
        path, ids=rows["material_id"].to_numpy(dtype=str), energies=EDOS_GRID.centers, spectra=np.stack(rows["edos"])
    )
    models = ["mat2spec", str(path)]
    run, _ = run_all(
        settings.model_copy(update={"prediction": settings.prediction.model_copy(update={"models": models})})
    )
    classes = run.read_table(TableName.CLASSIFICATIONS)
    same = [
        name
        for name in classes.columns
        if name.startswith(("is_metal", "gap_", "has_", "dos_at")) and "std" not in name
    ]
    # Its confidence in a gapped metal is that of a model nobody calibrated, and the edges shown are those of what is named.
    mine, theirs = (
        classes[classes["model"] == name].set_index("material_id") for name in ("mat2spec", "published.npz")
    )
    alike = mine["is_gapped_metal"].fillna(value=False) == theirs["is_gapped_metal"].fillna(value=False)
    assert alike.mean() > 0.8
    pd.testing.assert_frame_equal(mine.loc[alike, same], theirs.loc[alike, same])
    assert set(run.read_table(TableName.PRECISION_RECALL)["model"]) == {"mat2spec", "published.npz"}
    assert set(run.info["weights_hashes"]) == {"mat2spec", "published.npz", "metal-head", "site-metal-head"}
    assert run.info["stages"]["classify_predictions"]["counts"].keys() == {
        "gapped_metals_mat2spec",
        "gapped_metals_published.npz",
    }
    assert "published.npz" in (run.path / "report.html").read_text()


def test_phonons_of_the_picks_are_predicted_and_what_follows_from_them(assignments, fake_engine):
    settings = load_settings(None, [*assignments, "prediction.phonon_model=gatgnn", "run_dft=false"])
    run, counts = run_all(settings)
    phonons = run.read_table(TableName.PHONONS).set_index("material_id")
    picks = run.read_table(TableName.PICKS).set_index("material_id")
    assert counts["predict_phonons"] == {"predicted": len(picks)}
    assert set(phonons.index) == set(picks.index)
    assert set(run.read_table(TableName.DFT_JOBS)["material_id"]) <= set(phonons.index)
    heat = picks["heat_capacity_300k_j_per_mol_atoms_k"]
    assert heat.between(10, 24.95).all(), "below Dulong and Petit's 3 R"
    n_atoms = picks["formula"].map(lambda text: Composition(text).num_atoms)
    assert picks["heat_capacity_300k_j_per_mol_formula_k"].to_numpy() == pytest.approx((n_atoms * heat).to_numpy())
    assert phonons["temperatures_k"].str.len().eq(20).all()
