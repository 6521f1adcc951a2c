"""What is new since a day or a release, from the tables of finished runs."""

import json

import pandas as pd
import pytest

from screening.report.news import new_materials
from screening.runs.folder import RunFolder
from screening.runs.record import RUN_FILE, RunError
from screening.runs.releases import last_screened_release, runs_since
from screening.runs.schemas import TableName, column_names
from screening.settings import SourceSettings
from screening.sources.releases import current_release


def table_of(name, rows):
    """Rows with null in the columns that they do not name."""
    columns = column_names(name)
    return pd.DataFrame([dict.fromkeys(columns) | row for row in rows], columns=columns)


@pytest.fixture
def add_run(tmp_path):
    """Adds a finished run made on a day on a release, with materials by change and models that call them gapped."""

    def add(day, release, changes, gapped=()):
        settings = {"source": {"kind": "parquet"}}
        with RunFolder.open(tmp_path, settings, source_fingerprint=release + day, db_version=release) as run:
            ids = list(changes)
            candidates = [{"material_id": i, "formula": f"F{i}", "nsites": 1, "nelements": 1} for i in ids]
            run.write_table(TableName.CANDIDATES, table_of(TableName.CANDIDATES, candidates))
            rows = [{"material_id": i, "change": change} for i, change in changes.items()]
            run.write_table(TableName.CHANGES, table_of(TableName.CHANGES, rows))
            classes = [
                {"material_id": i, "model": model, "is_gapped_metal": True, "gapped_metal_confidence": confidence}
                for i, model, confidence in gapped
            ]
            if classes:
                run.write_table(TableName.CLASSIFICATIONS, table_of(TableName.CLASSIFICATIONS, classes))
            run.finish()
        record = json.loads((run.path / RUN_FILE).read_text()) | {"created": f"{day}T10:00:00Z"}
        renamed = tmp_path / f"{day.replace('-', '')}T100000Z-{release}"
        (run.path / RUN_FILE).write_text(json.dumps(record | {"run_id": renamed.name}))
        run.path.rename(renamed)
        return renamed.name

    return add


@pytest.fixture
def results(tmp_path, add_run):
    add_run("2026-09-01", "2026.9", {"a": "new", "b": "new"})
    add_run("2026-10-01", "2026.10", {"c": "new", "a": "structure changed"}, [("c", "m", 0.4), ("c", "g", 0.6)])
    add_run("2026-11-01", "2026.10", {"d": "lost its eDOS"})
    add_run("2026-11-20", "2026.11", {"e": "gained an eDOS"})
    return tmp_path


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, ["e"]),
        ("2026-10-01", ["a", "c", "d", "e"]),
        ("2026-10-02", ["d", "e"]),
        ("2027-01-01", []),
        ("2026.9", ["a", "c", "d", "e"]),
        ("2026.10", ["e"]),
        ("2026.11", []),
    ],
)
def test_since_is_a_day_a_release_or_the_last_run(results, since, expected):
    assert sorted(new_materials(results, since)["material_id"]) == expected


def test_rows_name_the_models_that_predict_a_gapped_metal_and_the_best_confidence(results):
    rows = new_materials(results, "2026.9").set_index("material_id")
    assert rows.loc["c", "gapped_metal_by"] == "g, m"
    assert rows.loc["c", "gapped_metal_confidence"] == 0.6
    assert rows.loc["c", ["formula", "db_version", "change"]].tolist() == ["Fc", "2026.10", "new"]
    assert pd.isna(rows.loc["a", "gapped_metal_by"])


def test_what_is_neither_a_day_nor_a_release_is_refused_with_the_releases(results, tmp_path):
    with pytest.raises(RunError, match=r"releases are 2026\.9, 2026\.10, 2026\.11"):
        runs_since(results, "yesterday")
    with pytest.raises(RunError, match="neither a date"):
        runs_since(results, "2026-13-41")
    with pytest.raises(RunError, match=r"No run in .* has finished"):
        new_materials(tmp_path / "nowhere")


def test_the_release_of_a_table_is_that_of_its_metadata_or_its_hash(results, crystals_path):
    release = current_release(SourceSettings(kind="parquet", path=crystals_path))
    assert release.startswith("crystals-")
    assert last_screened_release(results, "parquet") == "2026.11"
    assert last_screened_release(results, "catalogue") is None
