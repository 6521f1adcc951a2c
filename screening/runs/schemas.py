"""What each table of a run folder must hold: columns, types and which of them may be null."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from mat2spec.spectra.grids import SpectralGrid
from mat2spec.tables.columns import CRYSTAL_COLUMNS, TRANSPORT_COLUMNS, Column


class SchemaError(ValueError):
    """A table does not have the columns or types that its name promises; the message says which."""


class TableName(StrEnum):
    """Tables of a run folder: the result first, then those it is made from."""

    description: str

    def __new__(cls, name: str, description: str = "") -> Self:
        """A member that is its own name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.description = description
        return member

    PICKS = "picks", "The result: one row per material that any model calls a gapped metal or that was chosen for DFT."
    CANDIDATES = "candidates", "Materials that pass the filters, one row each."
    CRYSTALS = "crystals", "Their coordinates."
    FILTER_COUNTS = "filter_counts", "What each filter removed."
    REMOVED = "removed", "The materials of the source that a filter removed, and which filter."
    SCAN = "scan", "What the fast model of a funnel predicts for every candidate; only of runs with a funnel."
    FUNNEL = "funnel", "Its score of every candidate, and who predicts it therefore; only of runs with a funnel."
    FUNNEL_LOSS = "funnel_loss", "What the funnel loses, by a random sample, in one row; only of runs with a funnel."
    PREDICTIONS = "predictions", "Predicted spectra, one row per material and model."
    CLASSIFICATIONS = "classifications", "Classes of the predicted spectra, one row per material and model."
    DFT_JOBS = "dft_jobs", "Materials chosen for DFT, and the states of their jobs."
    PHONONS = "phonons", "Phonon spectra predicted for the picks, and what follows from them."
    TRANSPORT = "transport", "Masses and Seebeck coefficients of the first picks, if tight binding is among the models."
    PROJECTIONS = (
        "projections",
        "Spectra of the first picks by element and shell, if the leading model is tight binding: they sum to its prediction.",
    )
    DFT_RESULTS = "dft_results", "Computed spectra and their classes."
    PRECISION_RECALL = "precision_recall", "Precision and recall of each model for each class."
    CHANGES = "changes", "What is new about the materials of the source since the previous runs."
    KNOWN_EDOS = "known_edos", "Materials of the source that already have an eDOS."
    PUBLISHED_RESULTS = "published_results", "Spectra published since previous runs predicted them, with their classes."
    PREVIOUS_CLASSIFICATIONS = "previous_classifications", "The predictions of those runs for these materials."
    THRESHOLD_CURVE = "threshold_curve", "Precision and recall for other rules of the gap."


# Written only by a run with a funnel.
TABLES_OF_A_FUNNEL = (TableName.SCAN, TableName.FUNNEL, TableName.FUNNEL_LOSS)


class Field(NamedTuple):
    """One column of a table: its Arrow type, and whether it must be there and may hold nulls."""

    column: Column
    type: pa.DataType
    required: bool = True
    nullable: bool = True


SPECTRUM_COLUMNS = (Column.EDOS, Column.UNCERTAINTY)
PHONON_COLUMNS = (
    Column.HEAT_CAPACITY_300K,
    Column.HEAT_CAPACITY_300K_STD,
    Column.HEAT_CAPACITY_300K_FORMULA,
    Column.HEAT_CAPACITY_CURVE,
    Column.TEMPERATURES,
    Column.ENTROPY_300K,
    Column.ENTROPY_300K_STD,
    Column.ZERO_POINT_ENERGY,
    Column.ZERO_POINT_ENERGY_STD,
    Column.DEBYE_TEMPERATURE,
    Column.DEBYE_TEMPERATURE_STD,
    Column.MEAN_FREQUENCY,
    Column.HIGHEST_FREQUENCY,
    Column.ACOUSTIC_OPTIC_GAP,
)
_CURVES_OF_PHONONS = (Column.TEMPERATURES, Column.HEAT_CAPACITY_CURVE)
_THERMAL_NUMBERS = tuple(name for name in PHONON_COLUMNS if name not in _CURVES_OF_PHONONS)
CONFUSION_COLUMNS = (Column.TRUE_POSITIVES, Column.FALSE_POSITIVES, Column.FALSE_NEGATIVES, Column.TRUE_NEGATIVES)
TRUST_WORDS = (Column.TRUST, Column.TRUST_REASON, Column.UNSEEN_ELEMENTS)
SECOND_CHECK_WORDS = (Column.SECOND_CHECK, Column.SECOND_CHECK_REASON)
LEVEL_OF_THEORY = (Column.FUNCTIONAL, Column.SPIN, Column.U_VALUES)

_ERRORS = (Column.RELATIVE_ERROR, Column.DOMAIN_DISTANCE)
_CLASSES = (Column.IS_GAPPED_METAL, Column.HAS_VB_GAP, Column.IS_METAL)
_FLAGS = (*_CLASSES, Column.GAP_OPEN_AT_BOTTOM, Column.BELOW_THRESHOLD_EVERYWHERE)
_OTHER_FLAGS = (
    Column.VALUE_UNKNOWN,
    Column.DFT_GAP_OPEN_AT_BOTTOM,
    Column.IS_TARGET,
    Column.HAS_GAP_ABOVE,
    Column.GAP_ABOVE_OPEN_AT_TOP,
    Column.IS_TRANSPARENT,
    Column.IS_HALF_METAL,
)
_NUMBERS_OF_A_CLASS = (
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
_WORDS_OF_A_CLASS = (Column.ELECTRONIC_CLASS, Column.GAPPED_METAL_TYPE, Column.METAL_BY)
# Not stored by older versions.
_PROPERTIES = (
    Column.FALSE_METAL_RISK,
    Column.FALSE_METAL_REASON,
    Column.IS_TARGET,
    Column.METAL_BY,
    Column.ELECTRONIC_CLASS,
    Column.ELECTRONIC_CLASS_CONFIDENCE,
    Column.DOS_GAP_EV,
    Column.GAPPED_METAL_TYPE,
    Column.GAPPED_METAL_TYPE_CONFIDENCE,
    Column.HAS_GAP_ABOVE,
    Column.GAP_ABOVE_CONFIDENCE,
    Column.GAP_ABOVE_BOTTOM_EV,
    Column.GAP_ABOVE_TOP_EV,
    Column.GAP_ABOVE_WIDTH_EV,
    Column.GAP_ABOVE_OPEN_AT_TOP,
    Column.TRANSPARENCY_WINDOW_EV,
    Column.IS_TRANSPARENT,
    Column.PARTLY_FILLED_BAND_EV,
    Column.CARRIERS,
    Column.CARRIERS_STD,
    Column.BAND_MASS,
    Column.DOS_AT_EFERMI_PER_ATOM,
    Column.DOS_AT_EFERMI_PER_ATOM_STD,
    Column.SOMMERFELD_COEFFICIENT,
    Column.STONER_PRODUCT,
    Column.SEEBECK_300K,
    Column.SEEBECK_SIGN_CONFIDENCE,
    Column.DOS_LOGARITHMIC_SLOPE,
    Column.OCCUPIED_STATES,
    Column.OCCUPIED_CENTER_EV,
)
_PRECISION_AND_RECALL = (
    Column.PRECISION,
    Column.PRECISION_LOW,
    Column.PRECISION_HIGH,
    Column.RECALL,
    Column.RECALL_LOW,
    Column.RECALL_HIGH,
)
_OTHER_SCORES = (
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
_COUNTS_OF_A_FILTER = (Column.REMOVED, Column.UNKNOWN_REMOVED, Column.UNKNOWN_KEPT, Column.REMAINING)
_COUNTS_OF_MATERIALS = (Column.N, Column.N_FAILED, Column.N_MISSING_PREDICTIONS, Column.N_NOT_REPRESENTED)
_RULE = (Column.DOS_THRESHOLD, Column.MIN_WIDTH_EV, Column.TOP_MIN_EV, Column.TOP_MAX_EV)

_WORDS_OF_A_CALCULATION = (Column.ENGINE, Column.ENGINE_VERSION, *LEVEL_OF_THEORY, Column.KPOINTS, Column.NOTES)
_MESH_AND_BANDS = (Column.N_IRREDUCIBLE_KPOINTS, Column.N_BANDS)

# Types of the columns that do not hold 64-bit floating-point numbers.
_TEXTS = (
    Column.MATERIAL_ID,
    Column.FORMULA,
    Column.CHEMSYS,
    Column.STRUCTURE_HASH,
    Column.CHANGE,
    Column.FORMER_RUN_ID,
    Column.FILTER,
    Column.MODEL,
    Column.STATUS,
    Column.REASON,
    Column.WEIGHTS_HASH,
    Column.PREDICTED_BY,
    Column.FUNNEL_CHOICE,
    Column.FAST_MODEL,
    *TRUST_WORDS,
    Column.GAPPED_POLYMORPH,
    Column.FALSE_METAL_RISK,
    Column.FALSE_METAL_REASON,
    *SECOND_CHECK_WORDS,
    Column.SELECTED_AS,
    *_WORDS_OF_A_CALCULATION,
    Column.SETTINGS_HASH,
    Column.REFERENCE,
    *_WORDS_OF_A_CLASS,
    Column.TARGET,
    Column.ADVICE,
    Column.ESTIMATE,
    Column.GAP_RULE,
    Column.MOVED,
    Column.GAPPED_METAL_BY,
    Column.SPACE_GROUP_SYMBOL,
    Column.CHOICE,
    Column.DFT_STATUS,
    Column.DFT_REASON,
    Column.DFT_VERDICT,
    Column.LINK,
    Column.ORIGIN,
    Column.ELEMENT,
    Column.SHELL,
)
_COUNTS_OF_A_FUNNEL = (
    Column.N,
    Column.N_BY_SCORE,
    Column.N_BEYOND_LIMIT,
    Column.N_SAMPLED,
    Column.N_FOUND,
    Column.N_FOUND_IN_SAMPLE,
)
_COUNTS_OF_A_PICK = (Column.PICK_RANK, Column.SPACE_GROUP, Column.N_MODELS, Column.N_MODELS_FOR)
_INTEGERS = (
    Column.NSITES,
    Column.NSITES_PRIMITIVE,
    Column.NELEMENTS,
    Column.RANK,
    *_COUNTS_OF_A_FILTER,
    *_COUNTS_OF_MATERIALS,
    *_COUNTS_OF_A_FUNNEL,
    *_COUNTS_OF_A_PICK,
    *_MESH_AND_BANDS,
)
_TYPES: dict[Column, pa.DataType] = {
    **dict.fromkeys(_TEXTS, pa.string()),
    **dict.fromkeys(_INTEGERS, pa.int64()),
    **dict.fromkeys((*_FLAGS, *_OTHER_FLAGS), pa.bool_()),
    **dict.fromkeys(SPECTRUM_COLUMNS, pa.list_(pa.float32())),
    **dict.fromkeys(
        (Column.SCALE_STATES, *_ERRORS, Column.IMPLAUSIBILITY, Column.PRIOR_METAL_PROBABILITY),
        pa.float32(),
    ),
    **dict.fromkeys((Column.PHDOS, Column.PHDOS_UNCERTAINTY), pa.list_(pa.float32())),
    **dict.fromkeys((Column.LATTICE, Column.FRAC_COORDS, *_CURVES_OF_PHONONS), pa.list_(pa.float64())),
    Column.ATOMIC_NUMBERS: pa.list_(pa.int32()),
}


def _fields(*columns: Column, required: bool = True, nullable: bool = True) -> tuple[Field, ...]:
    return tuple(Field(column, _TYPES.get(column, pa.float64()), required, nullable) for column in columns)


def _filled(*columns: Column) -> tuple[Field, ...]:
    """Columns that every row must fill."""
    return _fields(*columns, nullable=False)


def _optional(*columns: Column) -> tuple[Field, ...]:
    """Columns that a table may lack."""
    return _fields(*columns, required=False)


# Properties given by the source.
_MATERIAL = (
    *_filled(Column.MATERIAL_ID),
    *_fields(Column.FORMULA, Column.CHEMSYS),
    *_filled(Column.NSITES, Column.NELEMENTS),
    *_fields(Column.ENERGY_ABOVE_HULL, Column.BAND_GAP),
)
_PREDICTION = (
    *_filled(Column.MATERIAL_ID, Column.MODEL, Column.STATUS),
    *_fields(Column.REASON, Column.EDOS, Column.SCALE_STATES, Column.UNCERTAINTY),
    *_optional(*_ERRORS, Column.IMPLAUSIBILITY, *TRUST_WORDS, Column.PRIOR_METAL_PROBABILITY),
    *_fields(Column.WEIGHTS_HASH),
    *_optional(Column.PREDICTED_BY),
)
# Columns of each table; it may hold more than these.
SCHEMAS: dict[TableName, tuple[Field, ...]] = {
    TableName.PICKS: (
        *_fields(Column.PICK_RANK),
        *_filled(Column.MATERIAL_ID),
        *_fields(Column.FORMULA, Column.CHEMSYS),
        *_filled(Column.NSITES),
        *_fields(Column.SPACE_GROUP, Column.SPACE_GROUP_SYMBOL),
        *_fields(Column.CONSENSUS_CONFIDENCE),
        *_filled(Column.GAPPED_METAL_BY, Column.N_MODELS_FOR, Column.N_MODELS, Column.MODEL, *_FLAGS),
        *_fields(*_NUMBERS_OF_A_CLASS),
        *_optional(Column.PREDICTED_BY, *_ERRORS, Column.IMPLAUSIBILITY, *TRUST_WORDS),
        *_fields(Column.REASON),
        *_filled(Column.CHOICE, Column.DFT_STATUS, Column.DFT_REASON, Column.DFT_VERDICT),
        *_fields(Column.DFT_GAP_TOP_EV, Column.DFT_GAP_BOTTOM_EV, Column.DFT_GAP_WIDTH_EV),
        *_filled(Column.DFT_GAP_OPEN_AT_BOTTOM),
        *_fields(Column.ENERGY_ABOVE_HULL, Column.BAND_GAP),
        *_optional(Column.NSITES_PRIMITIVE, Column.ORIGIN, *_THERMAL_NUMBERS, *TRANSPORT_COLUMNS),
        *_optional(*_PROPERTIES, Column.SECOND_CHECK),
        *_filled(Column.LINK),
    ),
    TableName.CANDIDATES: (
        *_MATERIAL,
        *_optional(Column.STRUCTURE_HASH, Column.NSITES_PRIMITIVE, Column.VOLUME, Column.ORIGIN),
        *_optional(Column.GAPPED_POLYMORPH),
    ),
    TableName.CRYSTALS: (*_filled(*CRYSTAL_COLUMNS), *_optional(Column.REASON)),
    TableName.CHANGES: (*_filled(Column.MATERIAL_ID, Column.CHANGE), *_fields(Column.FORMER_RUN_ID)),
    TableName.KNOWN_EDOS: _filled(Column.MATERIAL_ID),
    TableName.FILTER_COUNTS: _filled(Column.FILTER, *_COUNTS_OF_A_FILTER),
    TableName.REMOVED: (
        *_MATERIAL,
        *_filled(Column.FILTER, Column.VALUE_UNKNOWN),
        *_optional(Column.ORIGIN, Column.REASON),
    ),
    TableName.SCAN: _PREDICTION,
    TableName.FUNNEL: _filled(Column.MATERIAL_ID, Column.FUNNEL_SCORE, Column.FUNNEL_CHOICE),
    TableName.FUNNEL_LOSS: (
        *_filled(Column.MODEL, Column.FAST_MODEL, *_COUNTS_OF_A_FUNNEL),
        *_fields(Column.N_LOST, Column.N_LOST_LOW, Column.N_LOST_HIGH),
        *_fields(Column.RECALL, Column.RECALL_LOW, Column.RECALL_HIGH),
    ),
    TableName.PREDICTIONS: _PREDICTION,
    TableName.CLASSIFICATIONS: (
        *_filled(Column.MATERIAL_ID, Column.MODEL),
        *_fields(*_FLAGS, *_NUMBERS_OF_A_CLASS),
        *_optional(*_PROPERTIES, Column.TRUST, Column.CONSENSUS_CONFIDENCE),
    ),
    TableName.DFT_JOBS: (
        *_filled(Column.MATERIAL_ID),
        *_fields(Column.SELECTED_AS, Column.RANK, Column.INCLUSION_PROBABILITY),
        *_filled(Column.STATUS),
        *_fields(Column.REASON),
        *_optional(Column.ENGINE, Column.ESTIMATED_CPU_SECONDS, Column.SETTINGS_HASH),
    ),
    TableName.PHONONS: (
        *_filled(Column.MATERIAL_ID, Column.MODEL, Column.STATUS),
        *_fields(Column.REASON, Column.PHDOS, Column.PHDOS_UNCERTAINTY, *_THERMAL_NUMBERS),
        *_fields(*_CURVES_OF_PHONONS, Column.WEIGHTS_HASH),
        *_optional(Column.IMPLAUSIBILITY, *TRUST_WORDS, Column.PREDICTED_BY),
    ),
    TableName.TRANSPORT: (
        *_filled(Column.MATERIAL_ID, Column.MODEL),
        *_fields(*TRANSPORT_COLUMNS),
        *_filled(Column.WEIGHTS_HASH),
    ),
    TableName.PROJECTIONS: _filled(
        Column.MATERIAL_ID, Column.MODEL, Column.ELEMENT, Column.SHELL, Column.EDOS, Column.WEIGHTS_HASH
    ),
    TableName.DFT_RESULTS: (
        *_filled(Column.MATERIAL_ID, Column.STATUS),
        *_fields(Column.REASON),
        *_optional(Column.EDOS, *_FLAGS, *_NUMBERS_OF_A_CLASS, Column.BAND_GAP, Column.EFERMI, Column.CPU_SECONDS),
        *_optional(*_PROPERTIES, Column.SPIN_POLARISATION, Column.IS_HALF_METAL),
        *_optional(*SECOND_CHECK_WORDS, Column.SECOND_CHECK_BAND_GAP),
        *_optional(Column.FORMULA, Column.NSITES, Column.SETTINGS_HASH, *_WORDS_OF_A_CALCULATION, *_MESH_AND_BANDS),
        *_optional(Column.ENERGY_ZERO_EV, Column.COVERED_TO_EV, Column.WALL_SECONDS, Column.PEAK_MEMORY_MIB),
    ),
    TableName.PUBLISHED_RESULTS: (
        *_filled(Column.MATERIAL_ID, Column.STATUS),
        *_fields(Column.REASON),
        *_filled(Column.REFERENCE),
        *_fields(*LEVEL_OF_THEORY),
        *_filled(Column.FORMER_RUN_ID),
        *_fields(Column.EDOS, *_FLAGS, *_NUMBERS_OF_A_CLASS),
        *_optional(*_PROPERTIES),
    ),
    TableName.PREVIOUS_CLASSIFICATIONS: (*_filled(Column.MATERIAL_ID, Column.MODEL), *_fields(*_CLASSES)),
    TableName.PRECISION_RECALL: (
        *_filled(Column.MODEL, Column.TARGET, Column.ESTIMATE),
        *_fields(Column.GAP_RULE, Column.REFERENCE, *LEVEL_OF_THEORY),
        *_filled(*_COUNTS_OF_MATERIALS),
        *_fields(*CONFUSION_COLUMNS, *_PRECISION_AND_RECALL, *_OTHER_SCORES),
        *_optional(Column.N_POPULATION, Column.ADVICE),
    ),
    TableName.THRESHOLD_CURVE: (
        *_filled(Column.MODEL, Column.ESTIMATE),
        *_fields(Column.REFERENCE, *LEVEL_OF_THEORY),
        *_filled(Column.MOVED, *_RULE, Column.N),
        *_fields(*CONFUSION_COLUMNS, *_PRECISION_AND_RECALL, Column.F1, Column.ENRICHMENT),
    ),
}


def column_names(table_name: TableName) -> list[str]:
    """Names of the columns of a table."""
    return [str(field.column) for field in SCHEMAS[table_name]]


def empty_table(table_name: TableName) -> pa.Table:
    """A result table without rows."""
    return pa.schema([(str(field.column), field.type) for field in SCHEMAS[table_name]]).empty_table()


def conform(table: pa.Table, table_name: TableName, grid: SpectralGrid | None = None) -> pa.Table:
    """Check a table and cast its columns to their types; columns not in the schema are kept unchanged.

    Raises
    ------
    SchemaError
        If a column is missing, has another type, holds nulls it must not hold, or a spectrum has
        not as many bins as the grid.
    """
    fields = SCHEMAS[table_name]
    missing = [field.column for field in fields if field.required and field.column not in table.column_names]
    if missing:
        raise SchemaError(f"The table '{table_name}' lacks the columns {', '.join(missing)}; add them before writing.")
    for field in fields:
        if field.column in table.column_names:
            table = _conform_column(table, table_name, field)
    if grid is not None:
        _check_bins(table, table_name, grid)
    known = [str(field.column) for field in fields if field.column in table.column_names]
    others = [name for name in table.column_names if name not in known]
    return table.select(known + others)


def _conform_column(table: pa.Table, table_name: TableName, field: Field) -> pa.Table:
    column = table[field.column]
    if column.type != field.type:
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(
                f"The column {field.column} of the table '{table_name}' is {column.type} and cannot become "
                f"{field.type}: {error}"
            ) from error
        table = table.set_column(table.column_names.index(field.column), field.column, column)
    if not field.nullable and column.null_count:
        raise SchemaError(
            f"The column {field.column} of the table '{table_name}' is empty in {column.null_count} rows; "
            "every row needs it."
        )
    return table


def _check_bins(table: pa.Table, table_name: TableName, grid: SpectralGrid) -> None:
    for name in SPECTRUM_COLUMNS:
        if name not in table.column_names or not len(table):
            continue
        lengths = pc.unique(pc.drop_null(pc.list_value_length(table[name]))).to_pylist()
        wrong = [length for length in lengths if length != grid.size]
        if wrong:
            raise SchemaError(
                f"The column {name} of the table '{table_name}' holds spectra of {wrong[0]} bins, but the grid "
                f"'{grid.name}' has {grid.size}; rebin them first."
            )
