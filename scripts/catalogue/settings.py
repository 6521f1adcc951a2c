"""Settings of the catalogue build; each field ends up in the table's metadata."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field


class CatalogueSettings(BaseModel):
    """Everything that decides which crystals the catalogue holds and how they were relaxed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chgnet_version: str = Field("0.3.0", description="CHGNet weights, as packaged with chgnet.")
    seed: int = Field(2026, description="Seed of the hash that orders and samples the substitutions.")
    sampling_fraction: float = Field(1.0, gt=0, le=1, description="Part of each template's quota to relax.")
    max_known_sites: int = Field(60, gt=0, description="Largest primitive cell of a known compound to relax.")
    shard_size: int = Field(192, gt=0, description="Candidates per shard, all of one prototype.")
    scan_scales: tuple[float, ...] = Field(
        (0.80, 0.85, 0.90, 0.95, 1.0, 1.05, 1.10, 1.15, 1.20, 1.25),
        description="Lattice scale factors tried, around contact of the covalent radii, to start a relaxation.",
    )
    max_steps: int = Field(60, gt=0, description="Most energy and gradient evaluations of one relaxation.")
    force_tolerance_ev_per_a: float = Field(0.02, gt=0, description="Largest force on an atom at convergence.")
    stress_tolerance_gpa: float = Field(0.1, gt=0, description="Largest stress component at convergence.")
    min_contact: float = Field(0.65, gt=0, description="Shortest bond allowed, in sums of covalent radii.")
    min_final_contact: float = Field(0.75, gt=0, description="The same for a relaxed crystal.")
    max_contact: float = Field(1.60, gt=0, description="Longest nearest-neighbour bond allowed, in the same unit.")
    max_energy_above_hull: float = Field(0.1, ge=0, description="Largest energy above hull kept, eV/atom.")
    min_formation_energy: float = Field(
        -4.8, description="Formation energies below this, eV/atom, are unphysical and dropped before the hull."
    )
    loose_force_ev_per_a: float = Field(0.1, gt=0, description="Crystals with larger forces are dropped.")
    loose_stress_gpa: float = Field(1.0, gt=0, description="Crystals with larger stresses are dropped.")
    max_polymorphs: int = Field(2, gt=0, description="Substituted crystals kept per formula, lowest energy first.")

    def relaxation_fingerprint(self) -> str:
        """Hash of the fields that change a shard; shards with another hash are computed again."""
        fields = {
            "chgnet_version", "scan_scales", "max_steps", "force_tolerance_ev_per_a", "stress_tolerance_gpa",
            "min_contact",
        }  # fmt: skip
        return hashlib.sha256(self.model_dump_json(include=fields).encode()).hexdigest()[:16]
