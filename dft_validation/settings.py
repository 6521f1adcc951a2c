"""Settings of the DFT validation, and which of them change a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dft_validation.cores import usable_cores
from mat2spec.labels.splits import Part
from mat2spec.settings import LARGEST_METAL_GAP_EV, SHIPPED_STORE, cache_dir, default_store

# Fields that determine how much work is done and where, not its results.
_NOT_PHYSICS = frozenset(
    {
        "engine",
        "level",  # stands for other fields, see _LEVELS
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
        "second_check",
        "second_check_cpu_seconds",
    }
)
# Fields added after results had been stored under a hash: at their defaults they leave the hash unchanged.
_ADDED_LATER = frozenset(
    {
        "hubbard_u",
        "elk_rgkmax",
        "vasp_kpoint_density",
        "vasp_relax",
        "fermi_energy",
        "extra_bands_per_anion",
        "occupations",
        "even_mesh",
        "cell",
    }
)


_NO_LIMIT = 10**9
# Their 4f bands lie in the window, occupied or not.
_LANTHANIDES, _F_BANDS = range(57, 72), 7
# N, O, F, S, Cl, Se, Br, I
_ANIONS = frozenset({7, 8, 9, 16, 17, 34, 35, 53})
# Definition of the levels of theory.
_LEVELS: dict[str, dict[str, str]] = {
    "mp": {"spin": "mp", "hubbard_u": "mp", "fermi_energy": "tetrahedra", "occupations": "tetrahedra"}
}


def level_of(physics: Mapping[str, object]) -> str:
    """The level of theory to which settings amount, however they were given: 'mp' or 'custom'."""
    named = (
        name for name, values in _LEVELS.items() if all(physics.get(key) == value for key, value in values.items())
    )
    return next(named, "custom")


class DftSettings(BaseModel):
    """How electronic densities of states are computed, and limits on the work.

    The defaults reproduce the calculations on which the shipped electronic weights were trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str = Field("gpaw", description="Name of the DFT engine, see dft_validation.available_engines().")
    functional: Literal["PBE"] = Field("PBE", description="Exchange-correlation functional.")
    level: Literal["custom", "mp"] = Field(
        "custom",
        description="Level of theory: 'mp' as in the Materials Project (overrides: spin=mp, hubbard_u=mp, "
        "fermi_energy=tetrahedra, occupations=tetrahedra); 'custom' as given by these settings.",
    )
    spin: Literal["unpolarised", "polarised", "mp"] = Field(
        "unpolarised",
        description="Treatment of spin: 'polarised' is collinear and starts from the moments of the Materials Project; 'mp' does "
        "so only for crystals that can be magnetic (an element with a local moment, or an odd number of electrons).",
    )
    hubbard_u: Literal["none", "mp"] = Field(
        "none",
        description="Hubbard U: 'mp' as in the Materials Project, i.e. for some 3d and 4d metals in oxides and fluorides.",
    )
    fallback_engine: str = Field(
        "", description="Engine for crystals with an element that `engine` lacks, e.g. elk; empty: such crystals fail."
    )
    plane_wave_cutoff_ev: float = Field(350.0, gt=50, description="Kinetic-energy cutoff of the plane waves, in eV.")
    kpoint_density: float = Field(
        350.0, gt=0, description="k-points of the full Gamma-centred mesh times atoms of the primitive cell."
    )
    occupations: Literal["smeared", "tetrahedra"] = Field(
        "smeared",
        description="Occupations of GPAW's self-consistent bands: Fermi-Dirac of smearing_ev, or improved tetrahedra, as in "
        "the Materials Project's static runs; smearing on a coarse mesh gives wrong moments of metals.",
    )
    even_mesh: bool = Field(
        False,
        description="Use only even numbers of k-points, so that the mesh includes the zone boundary, where band edges are.",
    )
    smearing_ev: float = Field(0.05, gt=0, description="Width of the Fermi-Dirac occupations, in eV.")
    elk_command: str = Field("elk-lapw", description="Command that runs Elk (Debian: elk-lapw; manual builds: elk).")
    elk_rgkmax: float = Field(
        7.0,
        gt=3,
        description="Elk: smallest muffin-tin radius times largest plane-wave vector, which sets the basis size.",
    )
    vasp_kpoint_density: int = Field(
        400,
        gt=0,
        description="VASP: k-points of the uniform run per inverse cubic Angstrom of the reciprocal cell (the "
        "reciprocal_density of pymatgen).",
    )
    vasp_relax: bool = Field(
        False,
        description="VASP: relax the crystal first, twice as the Materials Project does; for sources that are not relaxed with "
        "its settings.",
    )
    band_interpolation: int = Field(
        3, ge=1, le=8, description="Factor per direction by which the bands are Fourier-interpolated before tetrahedra."
    )
    fermi_energy: Literal["engine", "tetrahedra"] = Field(
        "engine",
        description="Zero of a metal: the engine's Fermi energy, from smeared occupations of the mesh, or the one at which "
        "the interpolated bands hold all electrons, which is more accurate on coarse meshes. Labels and predictions "
        "of the shipped weights are relative to the engine's.",
    )
    density_tolerance: float = Field(
        1e-3, gt=0, description="Self-consistency: change of the density, electrons per valence electron."
    )
    eigenstates_tolerance: float = Field(
        1e-6, gt=0, description="Self-consistency: residual of the eigenstates, eV^2 per valence electron."
    )
    max_scf_iterations: int = Field(100, ge=5, description="Self-consistency steps before a job counts as unconverged.")
    extra_bands: int = Field(4, ge=1, description="Empty bands per cell.")
    extra_bands_per_atom: int = Field(3, ge=0, description="Additional empty bands per atom.")
    extra_bands_per_anion: int | None = Field(
        None,
        ge=0,
        description="Additional empty bands per atom of N, O, F, S, Cl, Se, Br or I, whose shells are filled; as for other atoms if "
        "not given. If given, lanthanides get seven more for the f shell.",
    )
    dropped_bands: int = Field(
        4, ge=0, description="Number of uppermost bands left out, as the solver converges them last."
    )
    band_attempts: int = Field(
        2,
        ge=1,
        le=4,
        description="Maximum calculations per crystal, each with twice the empty bands, to cover the whole grid.",
    )
    gap_tolerance_ev: float = Field(
        LARGEST_METAL_GAP_EV,
        ge=0,
        description="Band gaps up to this, in eV, count as zero; for larger ones the energy zero is the VBM.",
    )
    symmetry_tolerance_a: float = Field(
        0.01,
        ge=0,
        description="Atoms and lattice are symmetrised within this distance, in Angstrom, which halves the cost of crystals "
        "with rounded coordinates; 0 leaves every crystal unchanged.",
    )
    cell: Literal["primitive", "doubled"] = Field(
        "primitive",
        description="Cell that is computed; 'doubled' is twice the primitive one, without its symmetry: atoms are displaced a "
        "little and, with spin, moments alternate at the start.",
    )
    second_check: bool = Field(
        False,
        description="Compute the metals that DFT confirms once more, spin-polarised with the U of the Materials Project and in "
        "a doubled cell of lower symmetry, where false metals may become insulators. Only on this machine, and not with VASP.",
    )
    second_check_cpu_seconds: float = Field(
        1800.0,
        gt=0,
        description="CPU time of one second check, in seconds; those estimated to take longer are not run.",
    )
    max_atoms: int = Field(16, ge=1, description="Maximum number of atoms in the primitive cell.")
    max_jobs: int = Field(24, ge=0, description="Maximum number of jobs per run, not counting those already computed.")
    max_estimated_cpu_seconds: float = Field(
        60.0, gt=0, description="Jobs estimated to cost more CPU time than this are not run, in seconds."
    )
    max_cpu_seconds: float = Field(
        440.0, gt=0, description="Maximum estimated CPU time of all jobs of a run together, in seconds."
    )
    time_limit_s: float = Field(
        240.0,
        gt=0,
        description="CPU time after which a job is stopped, in seconds; waiting on a busy machine does not count.",
    )
    memory_limit_mib: int = Field(4096, ge=256, description="Address space that a job may use, in MiB.")
    workers: int = Field(default_factory=usable_cores, ge=1, description="Number of parallel jobs, one thread each.")
    cost_factor: float = Field(
        1.0, gt=0, description="Factor on the cost estimate: how much slower this machine is than that of the fit."
    )
    cache_dir: Path = Field(
        default_factory=lambda: cache_dir("dft"),
        description="Folder of finished results; nothing in it is computed twice.",
    )
    retry_failed: bool = Field(False, description="Rerun jobs with a recorded failure.")

    def empty_bands(self, atomic_numbers: Sequence[int]) -> int:
        """Bands beyond half the electrons of a cell with these atoms."""
        if self.extra_bands_per_anion is None:
            return self.extra_bands + self.extra_bands_per_atom * len(atomic_numbers)
        # Without the bands of the anions those of f shells are not covered.
        n_anions = sum(number in _ANIONS for number in atomic_numbers)
        n_lanthanides = sum(number in _LANTHANIDES for number in atomic_numbers)
        by_atoms = self.extra_bands_per_anion * n_anions + self.extra_bands_per_atom * (len(atomic_numbers) - n_anions)
        return self.extra_bands + by_atoms + _F_BANDS * n_lanthanides

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

    @model_validator(mode="after")
    def _cell_can_be_doubled(self) -> DftSettings:
        if self.runs_as_flow and (self.second_check or self.cell == "doubled"):
            raise ValueError(
                f"The engine {self.engine} does not compute doubled cells: second_check and cell=doubled need another, e.g. gpaw."
            )
        return self

    def physics(self) -> dict[str, object]:
        """The settings that change a result, as JSON values; later additions only if not at their defaults."""
        values = self.model_dump(mode="json")
        unchanged = {name for name in _ADDED_LATER if values[name] == type(self).model_fields[name].default}
        return {name: value for name, value in values.items() if name not in _NOT_PHYSICS | unchanged}

    def of_second_check(self) -> DftSettings:
        """The same calculation with spin, U and a doubled cell, within limits of its own."""
        limits = {"max_atoms": 2 * self.max_atoms, "max_jobs": _NO_LIMIT, "max_cpu_seconds": float(_NO_LIMIT)}
        limits |= dict.fromkeys(("time_limit_s", "max_estimated_cpu_seconds"), self.second_check_cpu_seconds)
        changes = {"level": "custom", "spin": "polarised", "hubbard_u": "mp", "cell": "doubled"}
        return self.model_copy(update={**changes, **limits})

    @property
    def runs_as_flow(self) -> bool:
        """Whether a calculation is a flow of several jobs, each in a folder of its own."""
        return self.engine == "vasp"

    @property
    def settings_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `physics`."""
        return hashlib.sha256(json.dumps(self.physics(), sort_keys=True).encode()).hexdigest()[:16]


class RemoteSettings(BaseModel):
    """A project of jobflow-remote, which defines the machines, their batch systems and the database of jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    submit: bool = Field(
        default=False,
        description="Submit the DFT jobs of a run to the project instead of computing them here; the run ends without "
        "waiting for them, and `mat2spec dft run --remote` or the flow collect-dft collects them.",
    )
    project: str = Field(
        default="", description="Name of the jobflow-remote project (~/.jfremote/PROJECT.yaml); empty: its own default."
    )
    worker: str = Field(default="", description="Worker of that project to which jobs are sent; empty: the first one.")
    exec_config: str = Field(default="", description="Environment of the jobs, from the project's exec_config.")
    resources: dict[str, Any] = Field(
        default_factory=dict, description="Resources requested per job, e.g. {ntasks: 1, time: '01:00:00'}."
    )


class LabelChoice(StrEnum):
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
        description="Share of each part: a random sample of what passes the filters (except that on band gaps), likely "
        "gapped metals, crystals about which the first model is least certain, rare elements.",
    )
    dft: dict[str, float] = Field(
        default={
            "kpoint_density": 200.0,
            "even_mesh": True,
            "extra_bands_per_anion": 1,
            "max_scf_iterations": 80,
            "max_estimated_cpu_seconds": 60.0,
            "time_limit_s": 400.0,
        },
        description="Settings of the calculations that differ from dft.*; the level of theory is that of the "
        "Materials Project.",
    )
    excluded_elements: tuple[str, ...] = Field(
        default=("Pr", "Nd", "Pm", "Sm", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"),
        description="Elements left out: the Materials Project keeps their 4f electrons in the core, unlike the data sets of "
        "GPAW, so the spectra would not be comparable.",
    )


class LabelSettings(BaseModel):
    """Which crystals are labelled, and where the labels go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: LabelPlanSettings = Field(default_factory=LabelPlanSettings, description="Population of a label plan.")
    store: Path | None = Field(
        default=None,
        description="Parquet file of the labels, or a folder of shards. Default: data/edos_store.parquet of the clone, with "
        "a plan data/edos_store/.",
    )
    keep_crystals: bool = Field(
        default=True,
        description="Keep the crystals in the store; labels of a database from a plan are stored by id, without them.",
    )
    reserved: Path | None = Field(
        default=None,
        description="Text file with ids and formulas that are never labelled; reserved_ids.txt of the data folder "
        "(MAT2SPEC_DATA_DIR) if not given.",
    )
    choice: LabelChoice = Field(
        default=LabelChoice.CHEMISTRY,
        description="random; chemistry: elements with the fewest labels first; gapped: likely gapped metals, spread in the "
        "same way; uncertainty: those about which the first model is least certain.",
    )
    n: int = Field(default=100, ge=1, description="Crystals to label.")
    seed: int = Field(default=0, ge=0, description="Seed of the choice.")
    max_sites: int = Field(
        default=8, ge=1, description="Maximum number of atoms in the cell: larger ones cost minutes."
    )
    one_per_formula: bool = Field(
        default=True, description="Choose one crystal per formula, and none of a formula that has a label."
    )
    skip_magnetic: bool = Field(
        default=True, description="Leave out elements whose solids are often magnetic: labels are spin-unpolarised."
    )
    electronegative_anions: tuple[str, ...] = Field(
        default=("N", "O", "F", "S", "Cl", "Se", "Br", "I"),
        description="Anions of a likely gapped metal: an odd number of electrons leaves one band half filled.",
    )
    save_every_s: float = Field(
        default=30.0, ge=0, description="Interval at which finished labels are saved, in seconds."
    )

    @property
    def store_path(self) -> Path:
        """The file of the labels."""
        return self.store or default_store(SHIPPED_STORE)
