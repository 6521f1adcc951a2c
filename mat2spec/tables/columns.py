"""Every column of every table, once: its name, a label for people, its unit and what it holds."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

STATES_PER_EV = "states/eV per cell"
PER_PRIMITIVE_CELL = "states/eV per primitive cell"


class Column(StrEnum):
    """Columns of tables on disk; names of the Materials Project where it has one.

    A member is the name of the column. Its `label` heads a column of a report, its `unit` is empty for words, flags
    and pure numbers, and its `description` says in a sentence what it holds; schemas, reports and the page
    docs/tables.md take them from here.
    """

    label: str
    unit: str
    description: str

    def __new__(cls, name: str, label: str = "", unit: str = "", description: str = "") -> Self:
        """A member that is its own name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.label, member.unit, member.description = label, unit, description
        return member

    @property
    def heading(self) -> str:
        """Label with the unit in parentheses, as a report writes it."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    # What a material is
    MATERIAL_ID = "material_id", "Material", "", "Identifier of the material in its source, such as mp-149."
    FORMULA = "formula", "Formula", "", "Reduced formula as pymatgen writes it."
    CHEMSYS = "chemsys", "Chemical system", "", "Elements in alphabetical order, joined by hyphens."
    NSITES = "nsites", "Sites", "", "Number of sites in the cell."
    NSITES_PRIMITIVE = "nsites_primitive", "Sites, primitive", "", "Number of sites in the primitive cell."
    VOLUME = "volume", "Volume", "Å³", "Volume of the cell."
    NELEMENTS = "nelements", "Elements", "", "Number of different elements."
    HAS_EDOS = "has_edos", "Has eDOS", "", "Whether the source itself has an electronic DOS of the material."
    ENERGY_ABOVE_HULL = "energy_above_hull", "Energy above hull", "eV/atom", "Energy above the convex hull."
    BAND_GAP = "band_gap", "Band gap", "eV", "Fundamental band gap; 0 for a metal."

    # The crystal itself
    LATTICE = "lattice", "Lattice", "Å", "Lattice vectors as rows, 9 numbers."
    FRAC_COORDS = "frac_coords", "Coordinates", "", "Fractional coordinates, 3 numbers per site."
    ATOMIC_NUMBERS = "atomic_numbers", "Atomic numbers", "", "Atomic number of every site."

    # What is new since previous runs
    STRUCTURE_HASH = "structure_hash", "Structure hash", "", "Hash of the cell and its sites; equal for equal crystals."
    CHANGE = (
        "change",
        "Change",
        "",
        "What is new about the material since the previous runs.",
    )
    RUN_ID = "run_id", "Run", "", "Identifier of the run."
    FORMER_RUN_ID = "former_run_id", "Previous run", "", "Previous run that screened the material last."
    DB_VERSION = "db_version", "Database", "", "Version of the database behind the source."

    # What became of it
    STATUS = "status", "Status", "", "Outcome: ok, or the kind of failure."
    REASON = "reason", "Reason", "", "Why there is no result, or what to know of the one there is; else empty."

    # Counts of the filters
    FILTER = "filter", "Filter", "", "Name of the filter; the first row is the source itself."
    REMOVED = "removed", "Removed", "", "Materials that the filter removed."
    UNKNOWN_REMOVED = "unknown_removed", "of them unknown", "", "Those removed because their value is unknown."
    UNKNOWN_KEPT = "unknown_kept", "Unknown, kept", "", "Materials kept although their value is unknown."
    VALUE_UNKNOWN = (
        "value_unknown",
        "Value unknown",
        "",
        "Whether the filter removed it because its value is not known.",
    )
    REMAINING = "remaining", "Remaining", "", "Materials that are left after the filter."

    # Predictions
    MODEL = "model", "Model", "", "Name of the model."
    EDOS = (
        "edos",
        "eDOS",
        STATES_PER_EV,
        "Electronic DOS, bin averages on the grid of the file's metadata; energies from E_F, or from the VBM if gapped.",
    )
    PHDOS = "phdos", "phDOS", "states/cm-1 per cell", "Phonon DOS, bin averages; its integral is 3N."
    SCALE_STATES = "scale_states", "States", "states per cell", "Integral of the predicted spectrum over its grid."
    UNCERTAINTY = "uncertainty", "Uncertainty", STATES_PER_EV, "Standard deviation of each bin of the prediction."
    RELATIVE_ERROR = (
        "relative_error",
        "Relative error",
        "",
        "Expected integral of the absolute error over that of the spectrum.",
    )
    DOMAIN_DISTANCE = (
        "domain_distance",
        "Domain distance",
        "",
        "Distance to the nearest training crystals; above 1 the crystal is unlike anything the model was trained on.",
    )
    WEIGHTS_HASH = "weights_hash", "Weights", "", "SHA-256 of the weights of the model."

    # Classes of a spectrum, predicted or computed
    HAS_VB_GAP = "has_vb_gap", "VB gap", "", "Whether the spectrum has a gap in the valence band by the published rule."
    IS_METAL = "is_metal", "Metal", "", "Whether there are states everywhere just above E_F."
    IS_GAPPED_METAL = "is_gapped_metal", "Gapped metal", "", "Whether it is a metal with a gap in the valence band."
    GAP_TOP_EV = "gap_top_ev", "Gap top", "eV", "Upper edge of the gap, from E_F."
    GAP_BOTTOM_EV = "gap_bottom_ev", "Gap bottom", "eV", "Lower edge of the gap, from E_F."
    GAP_WIDTH_EV = "gap_width_ev", "Width", "eV", "Width of the gap."
    GAP_FLOOR = "gap_floor_states_per_ev", "Gap floor", PER_PRIMITIVE_CELL, "Lowest DOS within the gap."
    GAP_OPEN_AT_BOTTOM = (
        "gap_open_at_bottom",
        "Open at bottom",
        "",
        "Whether the gap reaches the lower end of the grid; it may then be wider than stated.",
    )
    BELOW_THRESHOLD_EVERYWHERE = (
        "below_threshold_everywhere",
        "Low DOS everywhere",
        "",
        "Whether the whole spectrum lies below the threshold: gapped by the letter of the rule, but no gapped metal.",
    )
    GAP_CONFIDENCE = "gap_confidence", "Gap confidence", "", "Share of thresholds around the set one that give a gap."
    METAL_CONFIDENCE = (
        "metal_confidence",
        "Metal confidence",
        "",
        "Share of thresholds around the set one that give a metal.",
    )
    GAPPED_METAL_CONFIDENCE = (
        "gapped_metal_confidence",
        "Confidence",
        "",
        "Product of the confidences of gap and metal; a ranking score, not a probability.",
    )

    HAS_GAP_ABOVE = (
        "has_gap_above",
        "Gap above E_F",
        "",
        "Whether the spectrum has a gap above E_F by the rule of the gap in the valence band, mirrored at E_F.",
    )
    GAP_ABOVE_CONFIDENCE = "gap_above_confidence", "Gap above, confidence", "", "Like gap_confidence, above E_F."
    GAP_ABOVE_BOTTOM_EV = "gap_above_bottom_ev", "Gap above, bottom", "eV", "Lower edge of the gap above E_F, from E_F."
    GAP_ABOVE_TOP_EV = "gap_above_top_ev", "Gap above, top", "eV", "Upper edge of the gap above E_F, from E_F."
    GAP_ABOVE_WIDTH_EV = "gap_above_width_ev", "Gap above, width", "eV", "Width of the gap above E_F."
    GAP_ABOVE_OPEN_AT_TOP = (
        "gap_above_open_at_top",
        "Gap above, open at top",
        "",
        "Whether the gap above E_F reaches the upper end of the grid; it may then be wider than stated.",
    )
    GAPPED_METAL_TYPE = (
        "gapped_metal_type",
        "Type",
        "",
        (
            "n: a gap below E_F, E_F in the conduction band; p: a gap above E_F, E_F in the valence band; n+p: both "
            "(Malyi and Zunger, Appl. Phys. Rev. 7, 041310, 2020); null unless it is a gapped metal."
        ),
    )
    GAPPED_METAL_TYPE_CONFIDENCE = (
        "gapped_metal_type_confidence",
        "Type, confidence",
        "",
        "Product of the confidences of metal and of the gap, or of the less certain of two gaps.",
    )
    TRANSPARENCY_WINDOW_EV = (
        "transparency_window_ev",
        "Transparency window",
        "eV",
        (
            "Photon energy below which no state below the lower gap and none above the upper gap takes part at E_F: the smaller "
            "of E_F minus gap_bottom_ev and gap_above_top_ev minus E_F (the second gap of Ha et al., Phys. Chem. Chem. Phys. 18, "
            "2016, 1603.04038); null unless both gaps are there; the grid ends at 4 eV."
        ),
    )
    IS_TRANSPARENT = (
        "is_transparent",
        "Transparent",
        "",
        "Whether the transparency window is wider than 3.1 eV, violet light; intraband absorption is not judged.",
    )
    PARTLY_FILLED_BAND_EV = (
        "partly_filled_band_ev",
        "Partly filled band",
        "eV",
        "Of a metal: width of the run of bins around E_F at or above the DOS threshold of a gap; null where it leaves the grid.",
    )
    DOS_GAP_EV = (
        "dos_gap_ev",
        "Gap of the DOS",
        "eV",
        "Width of the empty run that begins at the VBM, of a non-metal; a lower bound where it reaches 4 eV.",
    )
    ELECTRONIC_CLASS = (
        "electronic_class",
        "Electronic class",
        "",
        (
            "metal; semimetal: a metal with less DOS at E_F per atom than classify.semimetal_dos_per_atom; semiconductor; "
            "insulator: a gap of at least classify.insulator_gap_ev."
        ),
    )
    ELECTRONIC_CLASS_CONFIDENCE = (
        "electronic_class_confidence",
        "Class, confidence",
        "",
        "metal_confidence of a metal or semimetal, one minus it of the others.",
    )

    SPIN_POLARISATION = (
        "spin_polarisation_at_efermi",
        "Spin polarisation",
        "",
        "(up - down)/(up + down) of the DOS at E_F of a spin-polarised metal.",
    )
    IS_HALF_METAL = (
        "is_half_metal",
        "Half metal",
        "",
        (
            "Whether the spin polarisation at E_F is above 0.95: only one spin has states there (de Groot et al., Phys. Rev. "
            "Lett. 50, 2024, 1983)."
        ),
    )
    IS_TARGET = "is_target", "Hit", "", "Whether it is what is searched for: the condition classify.target."

    # Other properties that follow from a spectrum
    DOS_AT_EFERMI = "dos_at_efermi_states_per_ev", "DOS at E_F", PER_PRIMITIVE_CELL, "DOS at E_F."
    DOS_ABOVE_EFERMI = (
        "dos_above_efermi_states_per_ev",
        "DOS above E_F",
        PER_PRIMITIVE_CELL,
        "Lowest mean DOS of any stretch just above E_F: what decides whether it is a metal.",
    )
    DOS_AT_EFERMI_PER_ATOM = (
        "dos_at_efermi_states_per_ev_per_atom",
        "DOS at E_F per atom",
        "states/eV per atom",
        "DOS at E_F over the number of sites.",
    )
    DOS_AT_EFERMI_PER_ATOM_STD = (
        "dos_at_efermi_states_per_ev_per_atom_std",
        "DOS at E_F per atom, s.d.",
        "states/eV per atom",
        "Standard deviation of the DOS at E_F per atom, from the uncertainty of the prediction.",
    )
    DOS_LOGARITHMIC_SLOPE = (
        "dos_logarithmic_slope_per_ev",
        "Logarithmic slope",
        "1/eV",
        "d ln g/dE at E_F, the density-of-states part of the Mott formula.",
    )
    SOMMERFELD_COEFFICIENT = (
        "sommerfeld_coefficient_mj_per_mol_k2",
        "Sommerfeld coefficient",
        "mJ/(mol K²)",
        (
            "Electronic heat capacity coefficient of band theory, (pi²/3) k_B² g(E_F), without electron-phonon enhancement, per "
            "mole of atoms; null for non-metals."
        ),
    )
    STONER_PRODUCT = (
        "stoner_product",
        "Stoner product",
        "",
        (
            "I g(E_F)/2 per atom of V to Ni (I = 0.9 eV) or Ru to Pd (0.65 eV), if all states at E_F are theirs: above 1 a "
            "ferromagnetic instability is possible, well below 1 there is none; null without such atoms and for non-metals."
        ),
    )
    SEEBECK_300K = (
        "seebeck_300k_uv_per_k",
        "Seebeck proxy at 300 K",
        "µV/K",
        (
            "Seebeck coefficient of a metal for a transport distribution proportional to the DOS (constant mobility, Boltzmann "
            "equation, E_F of 0 K): a proxy; negative for electrons. Its limit is the Mott formula with dos_logarithmic_slope_per_ev."
        ),
    )
    SEEBECK_SIGN_CONFIDENCE = (
        "seebeck_sign_confidence",
        "Seebeck, confidence of sign",
        "",
        "Probability that the sign of the proxy is right, from the uncertainty of the prediction.",
    )
    CARRIERS = (
        "carriers_per_cm3",
        "Carriers",
        "1/cm³",
        "States between the middle of the gap and E_F over the volume: electrons of an n-type, holes of a p-type gapped metal.",
    )
    CARRIERS_STD = (
        "carriers_per_cm3_std",
        "Carriers, s.d.",
        "1/cm³",
        "Standard deviation of the carriers, an upper bound.",
    )
    BAND_MASS = (
        "band_mass",
        "DOS effective mass",
        "electron masses",
        "Mass of free carriers with the carriers and the DOS at E_F of a gapped metal (Ashcroft and Mermin, eqs. 2.22, 2.64).",
    )
    OCCUPIED_STATES = "occupied_states", "Occupied states", "states per atom", "States below E_F within the grid."
    OCCUPIED_CENTER_EV = "occupied_center_ev", "Centre of occupied states", "eV", "Mean energy of these, from E_F."
    HEAT_CAPACITY_300K = (
        "heat_capacity_300k_j_per_mol_k",
        "Heat capacity at 300 K",
        "J/(mol K)",
        "Harmonic lattice heat capacity at constant volume, per mole of cells.",
    )
    MEAN_FREQUENCY = "mean_frequency_cm1", "Mean frequency", "cm-1", "Mean phonon frequency."

    # What is found about a material, in one row
    PICK_RANK = (
        "pick_rank",
        "#",
        "",
        "Place by the consensus of all models, from 1; null for a material that no model names.",
    )
    CONSENSUS_CONFIDENCE = (
        "consensus_confidence",
        "Confidence",
        "",
        "Mean over all models of the confidence that it is a gapped metal; a ranking score, not a probability.",
    )
    GAPPED_METAL_BY = "gapped_metal_by", "Models", "", "Models that call it a gapped metal, separated by commas."
    N_MODELS_FOR = "n_models_for", "Models for it", "", "Number of models that call it a gapped metal."
    N_MODELS = "n_models", "Models asked", "", "Number of models that predicted it."
    SPACE_GROUP = "space_group", "Space group", "", "Number of the space group in the International Tables."
    SPACE_GROUP_SYMBOL = "space_group_symbol", "Symbol", "", "Hermann-Mauguin symbol of the space group."
    CHOICE = "choice", "Choice", "", "Why it was chosen for DFT, or why not."
    DFT_STATUS = "dft_status", "DFT", "", "State of its DFT job; not_chosen where there is none."
    DFT_REASON = "dft_reason", "DFT, reason", "", "Why there is no DFT result, or what to know of it; else empty."
    DFT_VERDICT = (
        "dft_verdict",
        "By DFT",
        "",
        "What DFT finds by the same rule: gapped metal, metal without such a gap, not a metal, low DOS; or not computed.",
    )
    DFT_GAP_TOP_EV = "dft_gap_top_ev", "DFT gap top", "eV", "Upper edge of the gap in the DFT spectrum, from E_F."
    DFT_GAP_BOTTOM_EV = "dft_gap_bottom_ev", "DFT gap bottom", "eV", "Lower edge of that gap, from E_F."
    DFT_GAP_WIDTH_EV = "dft_gap_width_ev", "DFT width", "eV", "Width of that gap."
    DFT_GAP_OPEN_AT_BOTTOM = (
        "dft_gap_open_at_bottom",
        "DFT, open at bottom",
        "",
        "Whether that gap reaches the lower end of the grid; it may then be wider than stated.",
    )
    LINK = "link", "Link", "", "Page of the material at the Materials Project; empty for other materials."

    # The queue and the results of DFT
    SELECTED_AS = "selected_as", "Chosen as", "", "Why it was chosen: positive:MODEL, random_positive, random_negative."
    RANK = "rank", "Rank", "", "Place within its group, from 1."
    INCLUSION_PROBABILITY = (
        "inclusion_probability",
        "Inclusion probability",
        "",
        "Probability that its group's random sample includes it; 1 if picked by its rank.",
    )
    ENGINE = "engine", "Engine", "", "DFT engine."
    ENGINE_VERSION = "engine_version", "Engine version", "", "Version of the DFT engine."
    ESTIMATED_CPU_SECONDS = "estimated_cpu_seconds", "Estimated CPU", "s", "CPU time expected before computing."
    CPU_SECONDS = "cpu_seconds", "CPU", "s", "CPU time used."
    SETTINGS_HASH = "settings_hash", "Settings", "", "Hash of the DFT settings that change a result."
    EFERMI = "efermi", "E_F", "eV", "Fermi energy on the absolute scale of the calculation."
    ENERGY_ZERO_EV = "energy_zero_ev", "Zero of energy", "eV", "Absolute energy that the spectrum has as its zero."
    VBM = "vbm", "VBM", "eV", "Valence band maximum on the absolute scale; null for a metal."
    CBM = "cbm", "CBM", "eV", "Conduction band minimum on the absolute scale; null for a metal."
    COVERED_TO_EV = (
        "covered_to_ev",
        "Covered to",
        "eV",
        "Energy up to which bands were computed, from the zero of energy.",
    )
    FUNCTIONAL = "functional", "Functional", "", "Exchange-correlation functional."
    SPIN = "spin", "Spin", "", "Treatment of spin."
    U_VALUES = "u_values", "U", "eV", "Hubbard U by element, as JSON."
    LEVEL = "level", "Level of theory", "", "Name of the level of theory."
    KPOINTS = "kpoints", "k-points", "", "k-point mesh, as in 8x8x8."
    KPOINT_DENSITY = "kpoint_density", "k-point density", "", "k-points times atoms."
    MAGNETIZATION = "magnetization", "Magnetization", "μB per cell", "Total magnetic moment."
    N_ELECTRONS = "n_electrons", "Electrons", "", "Valence electrons per cell."
    EDOS_FINE = (
        "edos_fine",
        "Fine eDOS",
        STATES_PER_EV,
        "DOS of each spin channel on the fine grid, one after the other.",
    )
    PROJECTION_NAMES = "projection_names", "Projections", "", "Orbitals that the DOS is projected on."
    PROJECTIONS = "projections", "Projected eDOS", STATES_PER_EV, "DOS on each of these orbitals, one after the other."
    PROJECTED_SHARE = "projected_share", "Projected share", "", "Sum of the projections over the total DOS."
    VERSIONS = "versions", "Versions", "", "Versions of the packages involved, as JSON."
    NOTES = "notes", "Notes", "", "Remarks on the calculation."
    SOURCE = "source", "Source", "", "Where the crystal comes from."

    # Evaluation
    GAP_RULE = "gap_rule", "Rule", "", "Rule of the gap in words."
    REFERENCE = "reference", "Against", "", "Who computed the spectra that count as the truth."
    TARGET = "target", "Target", "", "Class that is judged."
    ESTIMATE = "estimate", "Estimate", "", "validated_set: materials as counted; population: all that could be drawn."
    N = "n", "n", "", "Materials with a computed spectrum."
    N_POPULATION = (
        "n_population",
        "Population",
        "",
        "Materials that the figures of the population speak for: predicted, and small enough to be computed.",
    )
    ADVICE = "advice", "Advice", "", "Which further calculations would make an unknown figure known; else empty."
    N_FAILED = "n_failed", "Failed", "", "Chosen materials without a computed spectrum."
    N_MISSING_PREDICTIONS = (
        "n_missing_predictions",
        "Not predicted",
        "",
        "Computed materials without a prediction, counted as predicted negative.",
    )
    N_NOT_REPRESENTED = (
        "n_not_represented",
        "Left out",
        "",
        "Predicted positives that were not chosen and that no random pick stands for.",
    )
    TRUE_POSITIVES = "tp", "tp", "", "True positives."
    FALSE_POSITIVES = "fp", "fp", "", "False positives."
    FALSE_NEGATIVES = "fn", "fn", "", "False negatives."
    TRUE_NEGATIVES = "tn", "tn", "", "True negatives."
    PRECISION = "precision", "Precision", "", "tp/(tp + fp)."
    PRECISION_LOW = "precision_low", "Precision, low", "", "Lower end of its interval."
    PRECISION_HIGH = "precision_high", "Precision, high", "", "Upper end of its interval."
    RECALL = "recall", "Recall", "", "tp/(tp + fn)."
    RECALL_LOW = "recall_low", "Recall, low", "", "Lower end of its interval."
    RECALL_HIGH = "recall_high", "Recall, high", "", "Upper end of its interval."
    F1 = "f1", "F1", "", "Harmonic mean of precision and recall."
    F1_LOW = "f1_low", "F1, low", "", "Lower end of its interval."
    F1_HIGH = "f1_high", "F1, high", "", "Upper end of its interval."
    MCC = "mcc", "MCC", "", "Matthews correlation coefficient."
    MCC_LOW = "mcc_low", "MCC, low", "", "Lower end of its interval."
    MCC_HIGH = "mcc_high", "MCC, high", "", "Upper end of its interval."
    PREVALENCE = "prevalence", "Prevalence", "", "Share of positives among all materials."
    ENRICHMENT = "enrichment", "Gain", "", "Precision over prevalence: how much better than random picking."
    ENRICHMENT_LOW = "enrichment_low", "Gain, low", "", "Lower end of its interval."
    ENRICHMENT_HIGH = "enrichment_high", "Gain, high", "", "Upper end of its interval."

    # The rule of a gap, moved after the fact
    MOVED = "moved", "Moved", "", "Whose rule is moved: the prediction's alone, or both."
    DOS_THRESHOLD = (
        "dos_threshold_states_per_ev",
        "DOS threshold",
        PER_PRIMITIVE_CELL,
        "Of the rule; per atom if gap.per_atom.",
    )
    MIN_WIDTH_EV = "min_width_ev", "Minimum width", "eV", "Minimum width of a gap."
    TOP_MIN_EV = "top_min_ev", "Lowest top", "eV", "Lowest energy at which a gap may end, from E_F."
    TOP_MAX_EV = "top_max_ev", "Highest top", "eV", "Highest energy at which a gap may end, from E_F."


# The columns of a table of crystals, see `mat2spec.crystals.arrays.Crystals.from_arrow`.
GEOMETRY_COLUMNS = (Column.LATTICE, Column.FRAC_COORDS, Column.ATOMIC_NUMBERS)
CRYSTAL_COLUMNS = (Column.MATERIAL_ID, *GEOMETRY_COLUMNS)
