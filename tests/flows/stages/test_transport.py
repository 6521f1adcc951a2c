"""Masses and Seebeck coefficients of the picks of a run."""

from flows import pipeline
from flows.settings_layers import load_settings
from flows.stages import Inputs
from flows.stages.transport import compute_transport, tight_binding_models
from mat2spec.tables.columns import TRANSPORT_COLUMNS
from mat2spec.tight_binding import fine_mesh
from screening.report.picks import with_numbers
from screening.runs.schemas import TableName


def test_the_first_picks_have_numbers_where_a_model_has_bands(assignments, fake_engine, monkeypatch):
    monkeypatch.setattr(fine_mesh, "MOST_WORK", 1e7)
    settings = load_settings(None, [*assignments, "classify.target=is_metal", "run_dft=false"])
    with pipeline.open_run(settings) as run:
        pipeline.run_stages(
            run, settings, pipeline.stages_of(settings), lambda stage: pipeline.run_stage(stage, run, settings)
        )
    picks = run.read_table(TableName.PICKS)
    # The models of the run have no bands.
    assert run.read_table(TableName.TRANSPORT).empty
    assert tight_binding_models(settings.prediction) == []
    bands = settings.prediction.model_copy(update={"models": ["mat2spec", "tight-binding"], "max_transport": 1})
    inputs = Inputs(run, pipeline.BY_NAME["compute_transport"].reads)
    outcome = compute_transport(inputs, settings.model_copy(update={"prediction": bands}))
    assert outcome.counts == {"computed": 1}
    others = picks.drop(columns=[str(name) for name in TRANSPORT_COLUMNS])
    found = with_numbers(others, outcome.tables[TableName.TRANSPORT])
    assert found["bands_gap_ev"].notna().tolist() == (picks["pick_rank"] == 1).tolist()
