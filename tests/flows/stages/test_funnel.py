"""A screen with a funnel, on made-up models: which model predicts which material, and what is lost."""

from types import SimpleNamespace

import numpy as np
import pytest

from flows import pipeline, stages
from flows.settings_layers import load_settings
from flows.stages import funnel
from mat2spec.spectra.grids import EDOS_GRID
from screening.choose.funnel import Cut
from screening.report.result_page import PAGE_FILE
from screening.runs.schemas import TableName
from tests.flows.fake_models import flat_spectrum, use_fake_models

CUT = Cut(
    fast_weights="1", accurate_weights="1", coefficients=(-1, 0, 0, 0), intercept=0.0, cut=-0.5, recall=0.98, recall_low=0.9,
    recall_high=1.0, pass_fraction=0.1, n_fast=1, n_accurate=1, n_positives=1, recall_of_highest={},
)  # fmt: skip
TABLES = (TableName.PREDICTIONS, TableName.CLASSIFICATIONS, TableName.FUNNEL, TableName.FUNNEL_LOSS, TableName.PICKS)


def spectrum_of(material_id, model):
    """The fast model sees half a gap in oxides; the accurate one sees a gap in these, and in KN, which the fast one misses."""
    if model == "fast":
        return np.where(flat_spectrum(gapped=material_id.endswith("O")) == 0, 1.5, 5.0)
    return flat_spectrum(gapped=material_id.endswith("O") or material_id == "KN")


@pytest.fixture
def predicted(monkeypatch):
    seen = use_fake_models(monkeypatch, spectrum_of)

    def load_predictors(settings, *_):
        return [SimpleNamespace(name=model, weights_hash="1", grid=EDOS_GRID) for model in settings.models]

    monkeypatch.setattr(stages, "load_predictors", load_predictors)
    monkeypatch.setattr(
        funnel, "load_cut", lambda folder, fast, accurate: CUT if (fast, accurate) == ("fast", "slow") else None
    )
    return seen


@pytest.fixture
def with_funnel(assignments):
    more = ["prediction.models=[slow, other]", "funnel.fast_model=fast", "funnel.n_sample=3", "run_dft=false"]
    return [*assignments, *more]


def run_all(settings):
    with pipeline.open_run(settings) as run:
        pipeline.run_stages(
            run, settings, pipeline.stages_of(settings), lambda stage: pipeline.run_stage(stage, run, settings)
        )
    return run


def test_the_accurate_models_predict_what_may_matter_and_a_sample(with_funnel, fake_engine, predicted):
    run = run_all(load_settings(None, [*with_funnel, "funnel.mode=always"]))
    table = run.read_table(TableName.FUNNEL).set_index("material_id")["funnel_choice"]
    by_score, sampled = set(table.index[table == "score"]), set(table.index[table == "random sample"])
    assert by_score == {name for name in table.index if name.endswith("O")}
    assert len(sampled) == 3
    rows = run.read_table(TableName.PREDICTIONS)
    leader, other = (rows[rows["model"] == name].set_index("material_id") for name in ("slow", "other"))
    assert sorted(leader.index) == sorted(table.index), "one row of the leader for every candidate"
    assert set(other.index) == by_score | sampled
    assert set(leader.index[leader["predicted_by"] == "slow"]) == by_score | sampled
    left = leader[leader["predicted_by"] == "fast"]
    assert left["reason"].str.startswith("Predicted by fast: its score is below the cut").all()
    assert np.stack(left["edos"]).min() == 5.0, "as the fast model predicts"
    assert len(predicted) == len(table) + len(by_score | sampled)


def test_the_loss_is_estimated_from_the_sample_and_said(with_funnel, fake_engine, predicted):
    run = run_all(load_settings(None, [*with_funnel, "funnel.mode=always", "funnel.n_sample=100"]))
    (row,) = run.read_table(TableName.FUNNEL_LOSS).to_dict("records")
    assert (row["n"], row["n_by_score"], row["n_sampled"], row["n_found"], row["n_found_in_sample"]) == (17, 8, 9, 8, 1)
    assert row["n_lost"] == 0, "the sample holds all others"
    fewer = run_all(load_settings(None, [*with_funnel, "funnel.mode=always", "funnel.n_sample=4"]))
    (row,) = fewer.read_table(TableName.FUNNEL_LOSS).to_dict("records")
    assert row["recall_low"] <= row["recall"] <= row["recall_high"] <= 1
    assert row["recall_low"] < 0.9, "four materials say little"
    page = (fewer.path / PAGE_FILE).read_text()
    assert "Funnel: fast read all 17 candidates" in page


def test_the_limit_keeps_the_highest_scores(with_funnel, fake_engine, predicted):
    run = run_all(
        load_settings(None, [*with_funnel, "funnel.mode=always", "funnel.max_accurate=2", "funnel.n_sample=0"])
    )
    choices = run.read_table(TableName.FUNNEL)["funnel_choice"].value_counts()
    assert choices.to_dict() == {"below the cut": 9, "beyond the limit": 6, "score": 2}
    (row,) = run.read_table(TableName.FUNNEL_LOSS).to_dict("records")
    assert row["n_beyond_limit"] == 6
    assert np.isnan(row["recall"])


def test_it_takes_over_by_itself_before_many_candidates_only(with_funnel, fake_engine, predicted):
    few = run_all(load_settings(None, with_funnel))
    assert not few.has_table(TableName.SCAN)
    assert "scan_candidates" not in few.info["stages"]
    many = run_all(load_settings(None, [*with_funnel, "funnel.from_candidates=17"]))
    assert many.has_table(TableName.FUNNEL_LOSS)
    exhaustive = run_all(load_settings(None, [*with_funnel, "funnel.from_candidates=1", "funnel.mode=never"]))
    assert not exhaustive.has_table(TableName.FUNNEL)


def test_a_funnel_without_a_cut_is_refused_with_a_reason(with_funnel, fake_engine, predicted):
    with pytest.raises(funnel.FunnelError, match="no cut is known for 'fast' before 'other'"):
        run_all(load_settings(None, [*with_funnel, "funnel.mode=always", "prediction.models=[other]"]))
    with pytest.raises(funnel.FunnelError, match="something else is searched for"):
        run_all(load_settings(None, [*with_funnel, "funnel.mode=always", "classify.target=is_metal"]))


@pytest.mark.parametrize("n_before", [1, 5])
def test_a_stopped_funnel_resumes_with_the_same_tables(
    with_funnel, fake_engine, predicted, monkeypatch, n_before, tmp_path
):
    settings = load_settings(None, [*with_funnel, "funnel.mode=always"])
    whole = run_all(settings.model_copy(update={"results_dir": tmp_path / "whole"}))
    original, done = pipeline.run_shard, []

    def stop(*arguments):
        if len(done) == n_before:
            raise KeyboardInterrupt
        done.append(original(*arguments))
        return done[-1]

    monkeypatch.setattr(pipeline, "run_shard", stop)
    with pytest.raises(KeyboardInterrupt):
        run_all(settings)
    monkeypatch.setattr(pipeline, "run_shard", original)
    run = run_all(settings)
    assert run.info["resumed"] == 1
    for name in TABLES:
        assert run.read_arrow(name).equals(whole.read_arrow(name)), name
    assert len(run.read_arrow(TableName.SCAN)[0]) == 17
    assert run.read_arrow(TableName.SCAN)["edos"].combine_chunks().values.to_numpy().reshape(
        -1, EDOS_GRID.size
    ).shape == (17, 128)
