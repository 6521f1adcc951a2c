from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.parquet import to_arrow
from screening.choose.filters import filter_candidates
from screening.choose.selection import select_for_dft
from screening.classify.gaps import classify_spectra
from screening.evaluate.evaluation import precision_recall
from screening.runs.schemas import SchemaError, TableName, column_names, conform
from screening.sources.parquet import ParquetSource
from scripts import write_tables_page

COUNTS = pa.table(
    {"filter": ["band gap"], "removed": [1], "unknown_removed": [0], "unknown_kept": [0], "remaining": [2]}
)


@pytest.mark.parametrize("name", list(TableName))
def test_every_table_has_a_schema_without_repeated_columns(name):
    names = column_names(name)
    assert names
    assert len(set(names)) == len(names)


def test_types_are_cast_and_extra_columns_follow():
    table = COUNTS.append_column("note", pa.array(["x"])).set_column(1, "removed", pa.array([1], pa.int8()))
    conformed = conform(table.select(["note", *COUNTS.column_names]), TableName.FILTER_COUNTS)
    assert conformed.column_names == [*COUNTS.column_names, "note"]
    assert conformed.schema.field("removed").type == pa.int64()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop_columns(["removed", "remaining"]), "lacks the columns removed, remaining"),
        (lambda table: table.set_column(1, "removed", pa.array(["many"])), "cannot become int64"),
        (lambda table: table.set_column(1, "removed", pa.array([None], pa.int64())), "is empty in 1 rows"),
    ],
)
def test_tables_that_break_their_promise_are_refused(change, sentence):
    with pytest.raises(SchemaError, match=sentence):
        conform(change(COUNTS), TableName.FILTER_COUNTS)


def test_spectra_must_lie_on_the_grid():
    table = pa.table({"material_id": ["mp-1"], "status": ["ok"], "reason": [""], "edos": [[1.0] * 51]})
    with pytest.raises(SchemaError, match="spectra of 51 bins"):
        conform(table, TableName.DFT_RESULTS, EDOS_GRID)


def test_what_the_modules_make_fits_the_schemas(crystals_path, make_spectrum):
    candidates, counts = filter_candidates(ParquetSource(crystals_path).properties())
    spectra = np.stack([make_spectrum(), make_spectrum(level=0.1), np.full(EDOS_GRID.size, np.nan)])
    classifications = classify_spectra(spectra).assign(material_id=candidates.material_id, model="mat2spec")
    picks = select_for_dft(classifications, candidates).picks
    results = classify_spectra(spectra).assign(material_id=candidates.material_id, status="ok", reason="")
    scores = precision_recall(classifications, results, picks)
    conform(to_arrow(candidates), TableName.CANDIDATES)
    conform(to_arrow(counts), TableName.FILTER_COUNTS)
    conform(to_arrow(classifications), TableName.CLASSIFICATIONS)
    conform(to_arrow(picks.assign(status="queued", reason="")), TableName.DFT_JOBS)
    conform(to_arrow(results), TableName.DFT_RESULTS)
    conform(to_arrow(scores), TableName.PRECISION_RECALL)
    assert conform(to_arrow(scores.head(0)), TableName.PRECISION_RECALL).num_rows == 0
    assert conform(to_arrow(pd.DataFrame(classifications.head(0))), TableName.CLASSIFICATIONS).num_rows == 0


def test_the_page_of_tables_is_that_of_the_schemas():
    assert write_tables_page.PAGE.read_text(encoding="utf-8") == write_tables_page.page()
