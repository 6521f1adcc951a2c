"""Settings of the label factory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.labels.splits import Part
from mat2spec.settings import SHIPPED_STORE


class Choice(StrEnum):
    """How crystals are chosen for labelling."""

    RANDOM = "random"
    CHEMISTRY = "chemistry"
    GAPPED = "gapped"
    UNCERTAINTY = "uncertainty"


class LabelPlanSettings(BaseModel):
    """Which population a label plan samples, see `dft_validation.labels.plan`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int = Field(default=4000, ge=1, description="Crystals in a plan.")
    seed: int = Field(default=0, ge=0, description="Seed of the sample and of the order.")
    max_sites: int = Field(default=12, ge=1, description="Maximum number of atoms in the cell.")
    shares: dict[Part, float] = Field(
        default={Part.RANDOM: 0.6, Part.GAPPED: 0.25, Part.UNCERTAIN: 0.075, Part.RARE: 0.075},
        description="Share of each part: a random sample of what passes the filters (but for that of band gaps), likely "
        "gapped metals, crystals that the first model is least sure of, rare elements.",
    )
    dft: dict[str, float] = Field(
        default={
            "kpoint_density": 150.0,
            "extra_bands_per_anion": 1,
            "max_scf_iterations": 80,
            "max_estimated_cpu_seconds": 150.0,
            "time_limit_s": 400.0,
        },
        description="Settings of the calculations where they differ from dft.*; the level of theory is that of the "
        "Materials Project.",
    )
    excluded_elements: tuple[str, ...] = Field(
        default=("Pr", "Nd", "Pm", "Sm", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"),
        description="Elements left out: the Materials Project keeps their 4f electrons in the core, the data sets of "
        "GPAW do not, so the spectra could not be compared.",
    )


class LabelSettings(BaseModel):
    """Which crystals are labelled, and where the labels go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: LabelPlanSettings = Field(default_factory=LabelPlanSettings, description="Population of a label plan.")
    store: Path | None = Field(
        default=None,
        description="Parquet file of the labels, or a folder of shards; data/edos_store.parquet of the clone if not "
        "given, with a plan data/edos_store/.",
    )
    keep_crystals: bool = Field(
        default=True,
        description="Keep the crystals in the store; a plan's labels of a database are kept by id, without them.",
    )
    reserved: Path | None = Field(
        default=None,
        description="Text file with ids and formulas that are never labelled; reserved_ids.txt of the data folder "
        "(MAT2SPEC_DATA_DIR) if not given.",
    )
    choice: Choice = Field(
        default=Choice.CHEMISTRY,
        description="random; chemistry: the elements with the fewest labels first; gapped: likely gapped metals, spread "
        "in the same way; uncertainty: those that the first model is least sure of.",
    )
    n: int = Field(default=100, ge=1, description="Crystals to label.")
    seed: int = Field(default=0, ge=0, description="Seed of the choice.")
    max_sites: int = Field(default=8, ge=1, description="Atoms of a chosen cell at most: larger ones cost minutes.")
    one_per_formula: bool = Field(
        default=True, description="Choose one crystal of a formula, and none of a formula that has a label."
    )
    skip_magnetic: bool = Field(
        default=True, description="Leave out elements whose solids are often magnetic: labels are spin-unpolarised."
    )
    electronegative_anions: tuple[str, ...] = Field(
        default=("N", "O", "F", "S", "Cl", "Se", "Br", "I"),
        description="Anions of a likely gapped metal: with an odd number of electrons, one band is left half filled.",
    )
    save_every_s: float = Field(default=30.0, ge=0, description="Finished labels are saved this often, in seconds.")

    @property
    def store_path(self) -> Path:
        """The file of the labels."""
        return self.store or SHIPPED_STORE
