"""Large tables pass in pieces: no stage reads one whole, and the pieces decide nothing."""

import pytest

from flows import pipeline
from flows.settings_layers import load_settings
from screening.runs.contents import RunTables
from screening.runs.schemas import TableName
from tests.flows.fake_models import flat_spectrum, use_fake_models

MODELS = ("fake", "other")
# One row for each candidate, or for each and every model.
LARGE = {TableName.CANDIDATES, TableName.CRYSTALS, TableName.PREDICTIONS, TableName.CLASSIFICATIONS, TableName.PICKS}
# What may be read of them as a whole.
NARROW = {
    "material_id",
    "band_gap",
    "model",
    "status",
    "choice",
    "n_models_for",
    "chemsys",
    "is_target",
    "is_gapped_metal",
}


@pytest.fixture
def screen(monkeypatch, crystals_path, tmp_path):
    """Runs all stages but DFT; every other crystal is a gapped metal for a model, others for another."""
    use_fake_models(
        monkeypatch, lambda name, model: flat_spectrum(len(name) + ord(name[0]) & (1 + MODELS.index(model)))
    )

    def run_all(name, do=pipeline.run_stage):
        words = ["source.kind=parquet", f"source.path={crystals_path}", f"results_dir={tmp_path / name}"]
        words += ["run_dft=false", "prediction.phonon_model=null", f"prediction.models=[{','.join(MODELS)}]"]
        words += ["dft.engine=gpaw", f"dft.cache_dir={tmp_path / 'cache'}", "selection.max_positives=3"]
        settings = load_settings(None, words)
        with pipeline.open_run(settings) as run:
            pipeline.run_stages(run, settings, pipeline.stages_of(settings), lambda stage: do(stage, run, settings))
        return run

    return run_all


def use_pieces_of(n, monkeypatch):
    # Not of the classification: a product of matrices of other sizes differs in the last digits.
    for place in ("mat2spec.tables.parquet", "screening.choose.candidates", "flows.stages.picks"):
        monkeypatch.setattr(f"{place}.ROWS_PER_GROUP", n)


def test_no_stage_reads_a_large_table_whole(screen, monkeypatch):
    read_whole = []
    read_arrow = RunTables.read_arrow

    def watched(run, name, columns=None):
        if TableName(name) in LARGE and (columns is None or not set(columns) <= NARROW):
            read_whole.append((name, columns))
        return read_arrow(run, name, columns)

    monkeypatch.setattr(RunTables, "read_arrow", watched)
    screen("results")
    assert read_whole == []


@pytest.mark.parametrize("n", [1, 3])
def test_tables_do_not_depend_on_the_pieces(screen, monkeypatch, n):
    whole = screen("whole")
    use_pieces_of(n, monkeypatch)
    pieces = screen("pieces")
    assert len(whole.read_arrow(TableName.PICKS)) > 2 * n
    for name in TableName:
        assert pieces.has_table(name) == whole.has_table(name)
        if whole.has_table(name):
            expected, found = (run.read_arrow(name).replace_schema_metadata(None) for run in (whole, pieces))
            assert found.equals(expected), name
    counts = [[entry["counts"] for entry in run.info["stages"].values()] for run in (whole, pieces)]
    assert counts[0] == counts[1]
