"""Options of a training beyond its settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.settings import Level
from mat2spec.training.subclass import Subclass

# The paper continues on a subclass with a fifth of the learning rate.
FINE_TUNING_RATE_FACTOR = 0.2


class TrainingOptions(BaseModel):
    """Initial weights of a training, and which and how many materials it uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fine_tune_from: Path | None = Field(
        default=None, description="Complete weights to start from, with a fifth of the learning rate."
    )
    subclass: Subclass = Field(default=Subclass(), description="Class of materials to train, validate and test on.")
    fractions: tuple[float, ...] = Field(
        default=(), description="Parts of the training split for a learning curve; none for a single training."
    )
    materials_class: str | None = Field(
        default=None, description="Material class with its own index files in the paper's archive."
    )
    level: Level = Field(default=Level.UNPOLARISED, description="Level of theory of electronic labels.")
    reserved_from: Path | None = Field(
        default=None, description="Data folder whose list of reserved materials is excluded from other sources."
    )
