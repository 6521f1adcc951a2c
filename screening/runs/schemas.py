"""What each result table must hold: columns, types and which of them may be null."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from mat2spec.tables.columns import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from mat2spec.spectra.grids import SpectralGrid


class SchemaError(ValueError):
    """A table does not have the columns or types that its name promises; the message says which."""


class Field(NamedTuple):
    """One column: its name, its Arrow type, and whether it must be there and may hold nulls."""

    name: str
    type: pa.DataType
    required: bool = True
    nullable: bool = True


SPECTRUM_COLUMNS = (Column.EDOS, Column.UNCERTAINTY)


@cache
def fields_of(table_name: TableName) -> tuple[Field, ...]:
    """Columns of a result table; a table may hold more than these."""
    import pyarrow as pa

    text, flag, real, integer = pa.string(), pa.bool_(), pa.float64(), pa.int64()
    spectrum = pa.list_(pa.float32())
    gap_flags = (
        Column.IS_GAPPED_METAL,
        Column.HAS_VB_GAP,
        Column.IS_METAL,
        Column.GAP_OPEN_AT_BOTTOM,
        Column.BELOW_THRESHOLD_EVERYWHERE,
    )
    gap_numbers = (
        Column.GAPPED_METAL_CONFIDENCE,
        Column.GAP_CONFIDENCE,
        Column.METAL_CONFIDENCE,
        Column.GAP_TOP_EV,
        Column.GAP_BOTTOM_EV,
        Column.GAP_WIDTH_EV,
        Column.GAP_FLOOR,
        Column.DOS_AT_EFERMI,
        Column.DOS_ABOVE_EFERMI,
    )
    material = Field(Column.MATERIAL_ID, text, nullable=False)
    outcome = (Field(Column.STATUS, text, nullable=False), Field(Column.REASON, text))
    counts = (Column.N, Column.N_FAILED, Column.N_MISSING_PREDICTIONS, Column.N_NOT_REPRESENTED)
    confusion = (Column.TRUE_POSITIVES, Column.FALSE_POSITIVES, Column.FALSE_NEGATIVES, Column.TRUE_NEGATIVES)
    intervals = (
        Column.PRECISION,
        Column.PRECISION_LOW,
        Column.PRECISION_HIGH,
        Column.RECALL,
        Column.RECALL_LOW,
        Column.RECALL_HIGH,
    )
    scores = (
        *intervals,
        Column.F1,
        Column.F1_LOW,
        Column.F1_HIGH,
        Column.MCC,
        Column.MCC_LOW,
        Column.MCC_HIGH,
        Column.PREVALENCE,
        Column.ENRICHMENT,
        Column.ENRICHMENT_LOW,
        Column.ENRICHMENT_HIGH,
    )
    rule = (Column.DOS_THRESHOLD, Column.MIN_WIDTH_EV, Column.TOP_MIN_EV, Column.TOP_MAX_EV)
    level_of_theory = (Column.FUNCTIONAL, Column.SPIN, Column.U_VALUES)
    tables: dict[TableName, tuple[Field, ...]] = {
        TableName.CANDIDATES: (
            material,
            Field(Column.FORMULA, text),
            Field(Column.CHEMSYS, text),
            Field(Column.NSITES, integer, nullable=False),
            Field(Column.NELEMENTS, integer, nullable=False),
            Field(Column.ENERGY_ABOVE_HULL, real),
            Field(Column.BAND_GAP, real),
            Field(Column.STRUCTURE_HASH, text, required=False),
        ),
        TableName.CRYSTALS: (
            material,
            Field(Column.LATTICE, pa.list_(real), nullable=False),
            Field(Column.FRAC_COORDS, pa.list_(real), nullable=False),
            Field(Column.ATOMIC_NUMBERS, pa.list_(pa.int32()), nullable=False),
        ),
        TableName.CHANGES: (
            material,
            Field(Column.CHANGE, text, nullable=False),
            Field(Column.FORMER_RUN_ID, text),
        ),
        TableName.KNOWN_EDOS: (material,),
        TableName.FILTER_COUNTS: (
            Field(Column.FILTER, text, nullable=False),
            Field(Column.REMOVED, integer, nullable=False),
            Field(Column.UNKNOWN_REMOVED, integer, nullable=False),
            Field(Column.UNKNOWN_KEPT, integer, nullable=False),
            Field(Column.REMAINING, integer, nullable=False),
        ),
        TableName.PREDICTIONS: (
            material,
            Field(Column.MODEL, text, nullable=False),
            *outcome,
            Field(Column.EDOS, spectrum),
            Field(Column.SCALE_STATES, pa.float32()),
            Field(Column.UNCERTAINTY, spectrum),
            Field(Column.RELATIVE_ERROR, pa.float32(), required=False),
            Field(Column.DOMAIN_DISTANCE, pa.float32(), required=False),
            Field(Column.WEIGHTS_HASH, text),
        ),
        TableName.CLASSIFICATIONS: (
            material,
            Field(Column.MODEL, text, nullable=False),
            *(Field(name, flag) for name in gap_flags),
            *(Field(name, real) for name in gap_numbers),
        ),
        TableName.DFT_JOBS: (
            material,
            Field(Column.SELECTED_AS, text),
            Field(Column.RANK, integer),
            Field(Column.INCLUSION_PROBABILITY, real),
            *outcome,
            Field(Column.ENGINE, text, required=False),
            Field(Column.ESTIMATED_CPU_SECONDS, real, required=False),
            Field(Column.SETTINGS_HASH, text, required=False),
        ),
        TableName.DFT_RESULTS: (
            material,
            *outcome,
            Field(Column.EDOS, spectrum, required=False),
            *(Field(name, flag, required=False) for name in gap_flags),
            *(Field(name, real, required=False) for name in gap_numbers),
            Field(Column.BAND_GAP, real, required=False),
            Field(Column.EFERMI, real, required=False),
            Field(Column.CPU_SECONDS, real, required=False),
        ),
        TableName.PUBLISHED_RESULTS: (
            material,
            *outcome,
            Field(Column.REFERENCE, text, nullable=False),
            *(Field(name, text) for name in (Column.FUNCTIONAL, Column.SPIN, Column.U_VALUES)),
            Field(Column.FORMER_RUN_ID, text, nullable=False),
            Field(Column.EDOS, spectrum),
            *(Field(name, flag) for name in gap_flags),
            *(Field(name, real) for name in gap_numbers),
        ),
        TableName.PREVIOUS_CLASSIFICATIONS: (
            material,
            Field(Column.MODEL, text, nullable=False),
            *(Field(name, flag) for name in (Column.IS_GAPPED_METAL, Column.HAS_VB_GAP, Column.IS_METAL)),
        ),
        TableName.PRECISION_RECALL: (
            Field(Column.MODEL, text, nullable=False),
            Field(Column.TARGET, text, nullable=False),
            Field(Column.ESTIMATE, text, nullable=False),
            Field(Column.SETTING, text),
            Field(Column.REFERENCE, text),
            *(Field(name, text) for name in level_of_theory),
            *(Field(name, integer, nullable=False) for name in counts),
            *(Field(name, real) for name in confusion),
            *(Field(name, real) for name in scores),
        ),
        TableName.THRESHOLD_CURVE: (
            Field(Column.MODEL, text, nullable=False),
            Field(Column.ESTIMATE, text, nullable=False),
            Field(Column.REFERENCE, text),
            *(Field(name, text) for name in level_of_theory),
            Field(Column.MOVED, text, nullable=False),
            *(Field(name, real, nullable=False) for name in rule),
            Field(Column.N, integer, nullable=False),
            *(Field(name, real) for name in confusion),
            *(Field(name, real) for name in intervals),
            Field(Column.F1, real),
            Field(Column.ENRICHMENT, real),
        ),
    }
    return tables[table_name]


def empty_table(table_name: TableName) -> pa.Table:
    """A result table without rows."""
    import pyarrow as pa

    return pa.schema([(field.name, field.type) for field in fields_of(table_name)]).empty_table()


def conform(table: pa.Table, table_name: TableName, grid: SpectralGrid | None = None) -> pa.Table:
    """Check a table and cast its columns to their types; columns that the schema does not know follow unchanged.

    Raises
    ------
    SchemaError
        If a column is missing, has another type, holds nulls it must not hold, or a spectrum has
        not as many bins as the grid.
    """
    fields = fields_of(table_name)
    missing = [field.name for field in fields if field.required and field.name not in table.column_names]
    if missing:
        raise SchemaError(f"The table '{table_name}' lacks the columns {', '.join(missing)}; add them before writing.")
    for field in fields:
        if field.name in table.column_names:
            table = _conform_column(table, table_name, field)
    if grid is not None:
        _check_bins(table, table_name, grid)
    known = [field.name for field in fields if field.name in table.column_names]
    others = [name for name in table.column_names if name not in known]
    return table.select(known + others)


def _conform_column(table: pa.Table, table_name: TableName, field: Field) -> pa.Table:
    import pyarrow as pa

    column = table[field.name]
    if column.type != field.type:
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(
                f"The column {field.name} of the table '{table_name}' is {column.type} and cannot become "
                f"{field.type}: {error}"
            ) from error
        table = table.set_column(table.column_names.index(field.name), field.name, column)
    if not field.nullable and column.null_count:
        raise SchemaError(
            f"The column {field.name} of the table '{table_name}' is empty in {column.null_count} rows; "
            "every row needs it."
        )
    return table


def _check_bins(table: pa.Table, table_name: TableName, grid: SpectralGrid) -> None:
    import pyarrow.compute as pc

    for name in SPECTRUM_COLUMNS:
        if name not in table.column_names or not len(table):
            continue
        lengths = pc.unique(pc.drop_null(pc.list_value_length(table[name]))).to_pylist()
        wrong = [length for length in lengths if length != grid.size]
        if wrong:
            raise SchemaError(
                f"The column {name} of the table '{table_name}' holds spectra of {wrong[0]} bins, the grid "
                f"'{grid.name}' has {grid.size}; rebin them first."
            )


class TableName(StrEnum):
    """Tables of a run folder, in the order in which a run writes them."""

    CANDIDATES = "candidates"
    CRYSTALS = "crystals"
    FILTER_COUNTS = "filter_counts"
    PREDICTIONS = "predictions"
    CLASSIFICATIONS = "classifications"
    DFT_JOBS = "dft_jobs"
    DFT_RESULTS = "dft_results"
    PRECISION_RECALL = "precision_recall"
    CHANGES = "changes"
    KNOWN_EDOS = "known_edos"
    PUBLISHED_RESULTS = "published_results"
    PREVIOUS_CLASSIFICATIONS = "previous_classifications"
    THRESHOLD_CURVE = "threshold_curve"
