"""Settings of the label factory."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.settings import SHIPPED_STORE


class Choice(StrEnum):
    """How crystals are chosen for labelling."""

    RANDOM = "random"
    CHEMISTRY = "chemistry"
    GAPPED = "gapped"
    UNCERTAINTY = "uncertainty"


class LabelSettings(BaseModel):
    """Which crystals are labelled, and where the labels go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Path | None = Field(
        default=None, description="Parquet file of the labels; data/edos_store.parquet of the clone if not given."
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
