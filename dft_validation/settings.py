"""Settings of the DFT validation, and which of them change a result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Fields that say how much work is done and where, not what comes out.
_NOT_PHYSICS = frozenset(
    {
        "engine",
        "level",  # stands for spin, hubbard_u and fermi_energy
        "max_atoms",
        "max_jobs",
        "max_estimated_cpu_seconds",
        "max_cpu_seconds",
        "time_limit_s",
        "memory_limit_mib",
        "workers",
        "cache_dir",
        "retry_failed",
        "cost_factor",
        "fallback_engine",
        "elk_command",
    }
)
# Fields that were added after results had been kept under a hash: at their defaults the hash stays what it was.
_ADDED_LATER = frozenset({"hubbard_u", "elk_rgkmax", "vasp_kpoint_density", "fermi_energy", "extra_bands_per_anion"})


# N, O, F, S, Cl, Se, Br, I
_ANIONS = frozenset({7, 8, 9, 16, 17, 34, 35, 53})
# What a level of theory stands for.
_LEVELS: dict[str, dict[str, str]] = {"mp": {"spin": "mp", "hubbard_u": "mp", "fermi_energy": "tetrahedra"}}


def level_of(physics: Mapping[str, object]) -> str:
    """The level of theory that settings amount to, however they were given: 'mp' or 'custom'."""
    named = (
        name for name, values in _LEVELS.items() if all(physics.get(key) == value for key, value in values.items())
    )
    return next(named, "custom")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mat2spec-screening" / "dft"


class DftSettings(BaseModel):
    """How the electronic densities of states are computed, and how much of it may be done.

    The defaults reproduce the calculations on which the shipped electronic weights were trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field("gpaw", description="Name of the DFT engine, see dft_validation.available_engines().")
    functional: Literal["PBE"] = Field("PBE", description="Exchange-correlation functional.")
    level: Literal["custom", "mp"] = Field(
        "custom",
        description="Level of theory: 'mp' as the Materials Project computes a crystal (spin=mp, hubbard_u=mp, "
        "fermi_energy=tetrahedra, whatever these say); 'custom' as spin, hubbard_u and fermi_energy say.",
    )
    spin: Literal["unpolarised", "polarised", "mp"] = Field(
        "unpolarised",
        description="Treatment of spin: 'polarised' starts from the moments of the Materials Project, collinear; 'mp' does "
        "so only for crystals that can be magnetic (an element with a local moment, or an odd number of electrons).",
    )
    hubbard_u: Literal["none", "mp"] = Field(
        "none",
        description="Hubbard U: 'mp' as the Materials Project, i.e. for some 3d and 4d metals in oxides and fluorides.",
    )
    fallback_engine: str = Field(
        "", description="Engine for crystals with an element that `engine` lacks, e.g. elk; empty: such crystals fail."
    )
    plane_wave_cutoff_ev: float = Field(350.0, gt=50, description="Kinetic-energy cutoff of the plane waves, in eV.")
    kpoint_density: float = Field(
        350.0, gt=0, description="k-points of the full Gamma-centred mesh times atoms of the primitive cell."
    )
    smearing_ev: float = Field(0.05, gt=0, description="Width of the Fermi-Dirac occupations, in eV.")
    elk_command: str = Field("elk-lapw", description="Command that runs Elk (Debian: elk-lapw; built by hand: elk).")
    elk_rgkmax: float = Field(
        7.0, gt=3, description="Elk: smallest muffin-tin radius times largest plane-wave vector, sets the basis."
    )
    vasp_kpoint_density: int = Field(
        400,
        gt=0,
        description="VASP: k-points of the uniform run per inverse cubic Angstrom of the reciprocal cell (the "
        "reciprocal_density of pymatgen).",
    )
    band_interpolation: int = Field(
        3, ge=1, le=8, description="Factor per direction by which the bands are Fourier-interpolated before tetrahedra."
    )
    fermi_energy: Literal["engine", "tetrahedra"] = Field(
        "engine",
        description="Zero of a metal: the engine's Fermi energy, from smeared occupations of the mesh, or the one at which "
        "the interpolated bands hold all electrons, which is off by less on coarse meshes. Labels and predictions of the "
        "shipped weights are relative to the engine's.",
    )
    density_tolerance: float = Field(
        1e-3, gt=0, description="Self-consistency: change of the density, electrons per valence electron."
    )
    eigenstates_tolerance: float = Field(
        1e-6, gt=0, description="Self-consistency: residual of the eigenstates, eV^2 per valence electron."
    )
    max_scf_iterations: int = Field(100, ge=5, description="Self-consistency steps before a job counts as unconverged.")
    extra_bands: int = Field(4, ge=1, description="Empty bands per cell.")
    extra_bands_per_atom: int = Field(3, ge=0, description="Further empty bands per atom.")
    extra_bands_per_anion: int | None = Field(
        None,
        ge=0,
        description="Further empty bands per atom of N, O, F, S, Cl, Se, Br or I, whose shells are filled; as other atoms if "
        "not given.",
    )
    dropped_bands: int = Field(4, ge=0, description="Uppermost bands left out, as the solver converges them last.")
    band_attempts: int = Field(
        2, ge=1, le=4, description="Calculations per crystal, each with twice the empty bands, to cover the whole grid."
    )
    gap_tolerance_ev: float = Field(
        0.05, ge=0, description="Band gaps up to this count as none, in eV; above it the energy zero is the VBM."
    )
    symmetry_tolerance_a: float = Field(
        0.01,
        ge=0,
        description="Atoms and lattice are put on symmetric places within this distance, in Angstrom, which halves the "
        "cost of rounded crystals; 0 leaves every crystal as it is.",
    )
    max_atoms: int = Field(16, ge=1, description="Largest primitive cell that the engine computes, in atoms.")
    max_jobs: int = Field(24, ge=0, description="Most jobs of one run; those already computed are not counted.")
    max_estimated_cpu_seconds: float = Field(
        60.0, gt=0, description="Jobs estimated to cost more CPU time than this are not run, in seconds."
    )
    max_cpu_seconds: float = Field(
        440.0, gt=0, description="Most estimated CPU time of all jobs of one run together, in seconds."
    )
    time_limit_s: float = Field(
        240.0,
        gt=0,
        description="CPU time after which a job is stopped, in seconds: a busy machine is not held against the crystal.",
    )
    memory_limit_mib: int = Field(4096, ge=256, description="Address space that a job may use, in MiB.")
    workers: int = Field(default_factory=_usable_cores, ge=1, description="Jobs at the same time, one thread each.")
    cost_factor: float = Field(
        1.0, gt=0, description="Factor on the cost estimate: how much slower this machine is than the one of the fit."
    )
    cache_dir: Path = Field(
        default_factory=_default_cache_dir, description="Folder of finished results; nothing in it is computed twice."
    )
    retry_failed: bool = Field(False, description="Run jobs again whose failure is on record.")

    def empty_bands(self, atomic_numbers: Sequence[int]) -> int:
        """Bands beyond half the electrons of a cell with these atoms."""
        per_anion = self.extra_bands_per_atom if self.extra_bands_per_anion is None else self.extra_bands_per_anion
        n_anions = sum(number in _ANIONS for number in atomic_numbers)
        return self.extra_bands + per_anion * n_anions + self.extra_bands_per_atom * (len(atomic_numbers) - n_anions)

    @model_validator(mode="before")
    @classmethod
    def _spell_out_level(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {**values, **_LEVELS.get(str(values.get("level")), {})}
        return values

    @model_validator(mode="after")
    def _bands_remain(self) -> DftSettings:
        if self.dropped_bands > self.extra_bands + self.extra_bands_per_atom:
            raise ValueError(
                f"dropped_bands is {self.dropped_bands}, more than the empty bands of a one-atom cell "
                f"({self.extra_bands + self.extra_bands_per_atom}); drop fewer or add extra_bands."
            )
        return self

    def physics(self) -> dict[str, object]:
        """The settings that change a result, as JSON values; later additions only where they are not at their default."""
        values = self.model_dump(mode="json")
        unchanged = {name for name in _ADDED_LATER if values[name] == type(self).model_fields[name].default}
        return {name: value for name, value in values.items() if name not in _NOT_PHYSICS | unchanged}

    @property
    def settings_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `physics`."""
        return hashlib.sha256(json.dumps(self.physics(), sort_keys=True).encode()).hexdigest()[:16]
