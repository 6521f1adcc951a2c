"""The names of every column of every result table, and of the tables themselves, in one place."""

from __future__ import annotations

from enum import StrEnum


class Column(StrEnum):
    """Columns of the result tables; names of the Materials Project where it has one.

    Units are part of the name except where the Materials Project's own name has none:
    `band_gap` and `efermi` are in eV, `energy_above_hull` is in eV per atom.
    """

    # What a material is
    MATERIAL_ID = "material_id"
    FORMULA = "formula"
    CHEMSYS = "chemsys"
    NSITES = "nsites"
    NELEMENTS = "nelements"
    HAS_EDOS = "has_edos"
    ENERGY_ABOVE_HULL = "energy_above_hull"
    BAND_GAP = "band_gap"

    # The crystal itself, in source tables
    LATTICE = "lattice"
    FRAC_COORDS = "frac_coords"
    ATOMIC_NUMBERS = "atomic_numbers"

    # What is new against former runs
    STRUCTURE_HASH = "structure_hash"
    CHANGE = "change"
    RUN_ID = "run_id"
    FORMER_RUN_ID = "former_run_id"
    DB_VERSION = "db_version"

    # What became of it
    STATUS = "status"
    REASON = "reason"

    # Counts of the filters
    FILTER = "filter"
    REMOVED = "removed"
    UNKNOWN_REMOVED = "unknown_removed"
    UNKNOWN_KEPT = "unknown_kept"
    REMAINING = "remaining"

    # Predictions
    MODEL = "model"
    EDOS = "edos"
    PHDOS = "phdos"
    SCALE_STATES = "scale_states"
    UNCERTAINTY = "uncertainty"
    RELATIVE_ERROR = "relative_error"
    DOMAIN_DISTANCE = "domain_distance"
    WEIGHTS_HASH = "weights_hash"

    # Classes of a spectrum, predicted or computed
    HAS_VB_GAP = "has_vb_gap"
    IS_METAL = "is_metal"
    IS_GAPPED_METAL = "is_gapped_metal"
    GAP_TOP_EV = "gap_top_ev"
    GAP_BOTTOM_EV = "gap_bottom_ev"
    GAP_WIDTH_EV = "gap_width_ev"
    GAP_FLOOR = "gap_floor_states_per_ev"
    GAP_OPEN_AT_BOTTOM = "gap_open_at_bottom"
    BELOW_THRESHOLD_EVERYWHERE = "below_threshold_everywhere"
    GAP_CONFIDENCE = "gap_confidence"
    METAL_CONFIDENCE = "metal_confidence"
    GAPPED_METAL_CONFIDENCE = "gapped_metal_confidence"

    # Other properties that follow from a spectrum
    DOS_AT_EFERMI = "dos_at_efermi_states_per_ev"
    DOS_ABOVE_EFERMI = "dos_above_efermi_states_per_ev"
    DOS_AT_EFERMI_PER_ATOM = "dos_at_efermi_states_per_ev_per_atom"
    DOS_LOGARITHMIC_SLOPE = "dos_logarithmic_slope_per_ev"
    SOMMERFELD_COEFFICIENT = "sommerfeld_coefficient_mj_per_mol_k2"
    OCCUPIED_STATES = "occupied_states"
    OCCUPIED_CENTER_EV = "occupied_center_ev"
    HEAT_CAPACITY_300K = "heat_capacity_300k_j_per_mol_k"
    MEAN_FREQUENCY = "mean_frequency_cm1"

    # The queue and the results of DFT
    SELECTED_AS = "selected_as"
    RANK = "rank"
    INCLUSION_PROBABILITY = "inclusion_probability"
    ENGINE = "engine"
    ESTIMATED_CPU_SECONDS = "estimated_cpu_seconds"
    CPU_SECONDS = "cpu_seconds"
    SETTINGS_HASH = "settings_hash"
    EFERMI = "efermi"
    FUNCTIONAL = "functional"
    SPIN = "spin"
    U_VALUES = "u_values"
    KPOINTS = "kpoints"

    # Evaluation
    SETTING = "setting"
    REFERENCE = "reference"
    TARGET = "target"
    ESTIMATE = "estimate"
    N = "n"
    N_FAILED = "n_failed"
    N_MISSING_PREDICTIONS = "n_missing_predictions"
    N_NOT_REPRESENTED = "n_not_represented"
    TRUE_POSITIVES = "tp"
    FALSE_POSITIVES = "fp"
    FALSE_NEGATIVES = "fn"
    TRUE_NEGATIVES = "tn"
    PRECISION = "precision"
    PRECISION_LOW = "precision_low"
    PRECISION_HIGH = "precision_high"
    RECALL = "recall"
    RECALL_LOW = "recall_low"
    RECALL_HIGH = "recall_high"
    F1 = "f1"
    F1_LOW = "f1_low"
    F1_HIGH = "f1_high"
    MCC = "mcc"
    MCC_LOW = "mcc_low"
    MCC_HIGH = "mcc_high"
    PREVALENCE = "prevalence"
    ENRICHMENT = "enrichment"
    ENRICHMENT_LOW = "enrichment_low"
    ENRICHMENT_HIGH = "enrichment_high"

    # The rule of a gap, moved after the fact
    MOVED = "moved"
    DOS_THRESHOLD = "dos_threshold_states_per_ev"
    MIN_WIDTH_EV = "min_width_ev"
    TOP_MIN_EV = "top_min_ev"
    TOP_MAX_EV = "top_max_ev"


# The columns of a table of crystals, see `mat2spec.crystals.arrays.Crystals.from_arrow`.
CRYSTAL_COLUMNS = (Column.MATERIAL_ID, Column.LATTICE, Column.FRAC_COORDS, Column.ATOMIC_NUMBERS)
