"""The stage of a screen that collects the table of picks, some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.stages import Counts, Inputs, Outcome, find_hits, rows_of
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import ROWS_PER_GROUP, to_arrow, to_frame
from screening.choose.selection import NEEDED_TO_SELECT
from screening.report.picks import (
    FROM_PREDICTIONS,
    GAPPED_METAL,
    PickOrder,
    picks_in,
    with_numbers,
    with_space_groups,
)
from screening.runs.schemas import TableName

if TYPE_CHECKING:
    from flows.settings import ScreenSettings


def collect_picks(inputs: Inputs, settings: ScreenSettings) -> Outcome:
    """Collect in one table what was found about every material that a model picked or that was chosen for DFT."""
    counts = {"picks": 0, "gapped_metals_by_dft": 0}
    jobs, results = inputs.read(TableName.DFT_JOBS), inputs.find(TableName.DFT_RESULTS)
    return Outcome(counts, {TableName.PICKS: _counted(picks_in_pieces(inputs, settings, jobs, results), counts)})


def _counted(pieces: Iterator[pa.Table], counts: Counts) -> Iterator[pa.Table]:
    for picks in pieces:
        counts["picks"] += len(picks)
        counts["gapped_metals_by_dft"] += picks[Column.DFT_VERDICT].to_pylist().count(GAPPED_METAL)
        yield picks


def find_picks(
    inputs: Inputs, settings: ScreenSettings, jobs: pd.DataFrame, results: pd.DataFrame | None
) -> pd.DataFrame:
    """The table of picks with these DFT jobs and results; without space groups where a run has no coordinates."""
    return to_frame(pa.concat_tables(picks_in_pieces(inputs, settings, jobs, results)))


def picks_in_pieces(
    inputs: Inputs, settings: ScreenSettings, jobs: pd.DataFrame, results: pd.DataFrame | None
) -> Iterator[pa.Table]:
    """The same table piece by piece, at least one; only what other tables hold of the picks is in memory, in Arrow."""
    ids = pd.concat([find_hits(inputs), jobs[Column.MATERIAL_ID]]).unique().tolist()
    wanted = inputs.columns_among(TableName.PREDICTIONS, (Column.MATERIAL_ID, Column.MODEL, *FROM_PREDICTIONS))
    tables = [
        rows_of(inputs, TableName.CANDIDATES, ids),
        rows_of(inputs, TableName.CLASSIFICATIONS, ids),
        rows_of(inputs, TableName.PREDICTIONS, ids, wanted),
    ]
    more = [table for name in (TableName.PHONONS, TableName.TRANSPORT) if (table := inputs.find(name)) is not None]
    needed = inputs.columns_among(TableName.CLASSIFICATIONS, NEEDED_TO_SELECT)
    order = PickOrder.of(to_frame(tables[1].select(needed)), jobs)
    for start in range(0, max(len(order), 1), ROWS_PER_GROUP):
        part = order.part(start, start + ROWS_PER_GROUP)
        candidates, classes, predictions = (to_frame(_rows_among(table, part.ids)) for table in tables)
        picks = picks_in(part, candidates, classes, predictions, jobs, results, settings.selection)
        for table in more:
            picks = with_numbers(picks, table)
        if inputs.run.has_table(TableName.CRYSTALS):
            picks = with_space_groups(picks, inputs.crystals(picks[Column.MATERIAL_ID]))
        yield _typed(to_arrow(picks), tables[1].schema)


def _rows_among(table: pa.Table, ids: list[str]) -> pa.Table:
    return table.filter(pc.is_in(table[Column.MATERIAL_ID], value_set=pa.array(ids, pa.string())))


def _typed(picks: pa.Table, schema: pa.Schema) -> pa.Table:
    """The picks with columns that are empty in this piece of the type that they have in others."""
    fields = [
        schema.field(field.name) if pa.types.is_null(field.type) and field.name in schema.names else field
        for field in picks.schema
    ]
    return picks.cast(pa.schema(fields))
