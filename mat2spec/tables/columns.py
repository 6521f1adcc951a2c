"""Every column of every table, once: its name here; its label, its unit and what it holds in columns.csv beside it."""

from __future__ import annotations

import csv
from enum import StrEnum
from importlib.resources import files
from typing import Self

_DESCRIPTIONS = {
    row["name"]: (row["label"], row["unit"], row["description"])
    for row in csv.DictReader(files(__package__).joinpath("columns.csv").read_text(encoding="utf-8").splitlines())
}


class Column(StrEnum):
    """Columns of tables on disk, named as in the Materials Project where it has one.

    `label` heads a column of a report, `unit` is empty for words, flags and pure numbers, `description` says what it holds.
    """

    label: str
    unit: str
    description: str

    def __new__(cls, name: str) -> Self:
        """A member that is its own name, described by its row of columns.csv."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.label, member.unit, member.description = _DESCRIPTIONS[name]
        return member

    @property
    def heading(self) -> str:
        """Label with the unit in parentheses, as a report writes it."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    # What a material is
    MATERIAL_ID = "material_id"
    FORMULA = "formula"
    CHEMSYS = "chemsys"
    NSITES = "nsites"
    NSITES_PRIMITIVE = "nsites_primitive"
    VOLUME = "volume"
    NELEMENTS = "nelements"
    HAS_EDOS = "has_edos"
    ENERGY_ABOVE_HULL = "energy_above_hull"
    BAND_GAP = "band_gap"
    # The crystal itself
    LATTICE = "lattice"
    FRAC_COORDS = "frac_coords"
    ATOMIC_NUMBERS = "atomic_numbers"
    # What is new since previous runs
    STRUCTURE_HASH = "structure_hash"
    CHANGE = "change"
    RUN_ID = "run_id"
    FORMER_RUN_ID = "former_run_id"
    DB_VERSION = "db_version"
    ORIGIN = "origin"
    GAPPED_POLYMORPH = "gapped_polymorph"
    # What became of it
    STATUS = "status"
    REASON = "reason"
    # Counts of the filters
    FILTER = "filter"
    REMOVED = "removed"
    UNKNOWN_REMOVED = "unknown_removed"
    UNKNOWN_KEPT = "unknown_kept"
    VALUE_UNKNOWN = "value_unknown"
    REMAINING = "remaining"
    # Predictions
    MODEL = "model"
    EDOS = "edos"
    PHDOS = "phdos"
    PHDOS_UNCERTAINTY = "phdos_uncertainty"
    SCALE_STATES = "scale_states"
    UNCERTAINTY = "uncertainty"
    RELATIVE_ERROR = "relative_error"
    DOMAIN_DISTANCE = "domain_distance"
    PRIOR_METAL_PROBABILITY = "prior_metal_probability"
    IMPLAUSIBILITY = "implausibility"
    UNSEEN_ELEMENTS = "unseen_elements"
    TRUST = "trust"
    TRUST_REASON = "trust_reason"
    WEIGHTS_HASH = "weights_hash"
    PREDICTED_BY = "predicted_by"
    # The funnel: who reads what, and what it loses
    FUNNEL_SCORE = "funnel_score"
    FUNNEL_CHOICE = "funnel_choice"
    FAST_MODEL = "fast_model"
    N_BY_SCORE = "n_by_score"
    N_BEYOND_LIMIT = "n_beyond_limit"
    N_SAMPLED = "n_sampled"
    N_FOUND = "n_found"
    N_FOUND_IN_SAMPLE = "n_found_in_sample"
    N_LOST = "n_lost"
    N_LOST_LOW = "n_lost_low"
    N_LOST_HIGH = "n_lost_high"
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
    METAL_BY = "metal_by"
    GAPPED_METAL_CONFIDENCE = "gapped_metal_confidence"
    HAS_GAP_ABOVE = "has_gap_above"
    GAP_ABOVE_CONFIDENCE = "gap_above_confidence"
    GAP_ABOVE_BOTTOM_EV = "gap_above_bottom_ev"
    GAP_ABOVE_TOP_EV = "gap_above_top_ev"
    GAP_ABOVE_WIDTH_EV = "gap_above_width_ev"
    GAP_ABOVE_OPEN_AT_TOP = "gap_above_open_at_top"
    GAPPED_METAL_TYPE = "gapped_metal_type"
    GAPPED_METAL_TYPE_CONFIDENCE = "gapped_metal_type_confidence"
    TRANSPARENCY_WINDOW_EV = "transparency_window_ev"
    IS_TRANSPARENT = "is_transparent"
    PARTLY_FILLED_BAND_EV = "partly_filled_band_ev"
    DOS_GAP_EV = "dos_gap_ev"
    ELECTRONIC_CLASS = "electronic_class"
    ELECTRONIC_CLASS_CONFIDENCE = "electronic_class_confidence"
    SPIN_POLARISATION = "spin_polarisation_at_efermi"
    IS_HALF_METAL = "is_half_metal"
    IS_TARGET = "is_target"
    FALSE_METAL_RISK = "false_metal_risk"
    FALSE_METAL_REASON = "false_metal_reason"
    SECOND_CHECK = "second_check"
    SECOND_CHECK_BAND_GAP = "second_check_band_gap"
    SECOND_CHECK_REASON = "second_check_reason"
    # Other properties that follow from a spectrum
    DOS_AT_EFERMI = "dos_at_efermi_states_per_ev"
    DOS_ABOVE_EFERMI = "dos_above_efermi_states_per_ev"
    DOS_AT_EFERMI_PER_ATOM = "dos_at_efermi_states_per_ev_per_atom"
    DOS_AT_EFERMI_PER_ATOM_STD = "dos_at_efermi_states_per_ev_per_atom_std"
    DOS_LOGARITHMIC_SLOPE = "dos_logarithmic_slope_per_ev"
    SOMMERFELD_COEFFICIENT = "sommerfeld_coefficient_mj_per_mol_k2"
    STONER_PRODUCT = "stoner_product"
    SEEBECK_300K = "seebeck_300k_uv_per_k"
    SEEBECK_SIGN_CONFIDENCE = "seebeck_sign_confidence"
    CARRIERS = "carriers_per_cm3"
    CARRIERS_STD = "carriers_per_cm3_std"
    BAND_MASS = "band_mass"
    OCCUPIED_STATES = "occupied_states"
    OCCUPIED_CENTER_EV = "occupied_center_ev"
    HEAT_CAPACITY_300K = "heat_capacity_300k_j_per_mol_atoms_k"
    HEAT_CAPACITY_300K_STD = "heat_capacity_300k_j_per_mol_atoms_k_std"
    HEAT_CAPACITY_300K_FORMULA = "heat_capacity_300k_j_per_mol_formula_k"
    HEAT_CAPACITY_CURVE = "heat_capacity_j_per_mol_atoms_k"
    TEMPERATURES = "temperatures_k"
    ENTROPY_300K = "entropy_300k_j_per_mol_atoms_k"
    ENTROPY_300K_STD = "entropy_300k_j_per_mol_atoms_k_std"
    ZERO_POINT_ENERGY = "zero_point_energy_mev_per_atom"
    ZERO_POINT_ENERGY_STD = "zero_point_energy_mev_per_atom_std"
    DEBYE_TEMPERATURE = "debye_temperature_k"
    DEBYE_TEMPERATURE_STD = "debye_temperature_k_std"
    HIGHEST_FREQUENCY = "highest_frequency_cm1"
    ACOUSTIC_OPTIC_GAP = "acoustic_optic_gap_cm1"
    MEAN_FREQUENCY = "mean_frequency_cm1"
    # What follows from the velocities of bands
    BANDS_GAP_EV = "bands_gap_ev"
    BANDS_SEEBECK = "bands_seebeck_300k_uv_per_k"
    PLASMA_ENERGY = "plasma_energy_ev"
    BANDS_CARRIERS = "bands_carriers_per_cm3"
    CONDUCTIVITY_MASS = "conductivity_mass"
    ELECTRON_MASS = "electron_mass_1e19"
    HOLE_MASS = "hole_mass_1e19"
    SEEBECK_N_1E19 = "seebeck_n_1e19_300k_uv_per_k"
    SEEBECK_P_1E19 = "seebeck_p_1e19_300k_uv_per_k"
    SEEBECK_N_1E20 = "seebeck_n_1e20_300k_uv_per_k"
    SEEBECK_P_1E20 = "seebeck_p_1e20_300k_uv_per_k"
    # What is found about a material, in one row
    PICK_RANK = "pick_rank"
    CONSENSUS_CONFIDENCE = "consensus_confidence"
    GAPPED_METAL_BY = "gapped_metal_by"
    N_MODELS_FOR = "n_models_for"
    N_MODELS = "n_models"
    SPACE_GROUP = "space_group"
    SPACE_GROUP_SYMBOL = "space_group_symbol"
    CHOICE = "choice"
    DFT_STATUS = "dft_status"
    DFT_REASON = "dft_reason"
    DFT_VERDICT = "dft_verdict"
    DFT_GAP_TOP_EV = "dft_gap_top_ev"
    DFT_GAP_BOTTOM_EV = "dft_gap_bottom_ev"
    DFT_GAP_WIDTH_EV = "dft_gap_width_ev"
    DFT_GAP_OPEN_AT_BOTTOM = "dft_gap_open_at_bottom"
    LINK = "link"
    # The queue and the results of DFT
    SELECTED_AS = "selected_as"
    RANK = "rank"
    INCLUSION_PROBABILITY = "inclusion_probability"
    ENGINE = "engine"
    ENGINE_VERSION = "engine_version"
    ESTIMATED_CPU_SECONDS = "estimated_cpu_seconds"
    CPU_SECONDS = "cpu_seconds"
    SETTINGS_HASH = "settings_hash"
    EFERMI = "efermi"
    ENERGY_ZERO_EV = "energy_zero_ev"
    VBM = "vbm"
    CBM = "cbm"
    COVERED_TO_EV = "covered_to_ev"
    FUNCTIONAL = "functional"
    SPIN = "spin"
    U_VALUES = "u_values"
    LEVEL = "level"
    KPOINTS = "kpoints"
    N_IRREDUCIBLE_KPOINTS = "n_irreducible_kpoints"
    N_BANDS = "n_bands"
    WALL_SECONDS = "wall_seconds"
    PEAK_MEMORY_MIB = "peak_memory_mib"
    KPOINT_DENSITY = "kpoint_density"
    MAGNETIZATION = "magnetization"
    N_ELECTRONS = "n_electrons"
    EDOS_FINE = "edos_fine"
    PROJECTION_NAMES = "projection_names"
    PROJECTIONS = "projections"
    ELEMENT = "element"
    SHELL = "shell"
    PROJECTED_SHARE = "projected_share"
    VERSIONS = "versions"
    NOTES = "notes"
    SOURCE = "source"
    # Evaluation
    GAP_RULE = "gap_rule"
    REFERENCE = "reference"
    TARGET = "target"
    ESTIMATE = "estimate"
    N = "n"
    N_POPULATION = "n_population"
    ADVICE = "advice"
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
GEOMETRY_COLUMNS = (Column.LATTICE, Column.FRAC_COORDS, Column.ATOMIC_NUMBERS)
CRYSTAL_COLUMNS = (Column.MATERIAL_ID, *GEOMETRY_COLUMNS)
# What `mat2spec.tight_binding.transport_table` gives.
TRANSPORT_COLUMNS = (
    Column.BANDS_GAP_EV,
    Column.BANDS_SEEBECK,
    Column.PLASMA_ENERGY,
    Column.BANDS_CARRIERS,
    Column.CONDUCTIVITY_MASS,
    Column.ELECTRON_MASS,
    Column.HOLE_MASS,
    Column.SEEBECK_N_1E19,
    Column.SEEBECK_P_1E19,
    Column.SEEBECK_N_1E20,
    Column.SEEBECK_P_1E20,
)
