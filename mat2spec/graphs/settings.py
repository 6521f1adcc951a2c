"""Settings of graphs, importable without torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.descriptors.kinds import Descriptors


class GraphSettings(BaseModel):
    """How a graph is made from a crystal; part of every weights file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cutoff_a: float = Field(default=8.0, gt=0, description="Maximum neighbour distance, in Angstrom.")
    n_neighbours: int = Field(default=12, ge=1, description="Number of nearest neighbours that are always linked.")
    shell_tolerance_a: float = Field(
        default=0.01, ge=0, description="Atoms up to this far beyond the last of them, in Angstrom, are linked too."
    )
    distance_resolution_a: float = Field(
        default=1e-4, gt=0, description="Edge lengths are rounded to this, in Angstrom; equal ones are then equal."
    )
    refinement_rounds: int = Field(
        default=4, ge=1, description="Rounds of neighbourhood comparison; at least the number of layers of the model."
    )
    merge_sites: bool = Field(
        default=True, description="Merge equivalent sites into one node; not possible for graphs with edge vectors."
    )
    descriptors: Descriptors = Field(
        default=Descriptors.NONE, description="Vectors of the atoms from pretrained interatomic potentials."
    )
