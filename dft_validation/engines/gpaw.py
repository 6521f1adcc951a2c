"""GPAW as an engine: write the input of a worker process, run it within limits, read its output."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Element

from dft_validation.bands.mesh import MeshBands, Projections
from dft_validation.engines.base import EngineResult
from dft_validation.engines.child import Serving, run_child
from dft_validation.engines.gpaw_setups import VALENCE_ELECTRONS
from dft_validation.engines.magnetism import SpinAndU, spin_and_u
from dft_validation.results.outcomes import EngineError, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell

_WORKER = (sys.executable, "-m", "dft_validation.engines.gpaw_worker")


@dataclass(frozen=True)
class GpawEngine:
    """GPAW in a child process.

    Parameters
    ----------
    name
        Name in settings and tables.
    worker
        Command that takes an input and an output file.
    package
        Distribution whose presence and version count.
    """

    name: str = "gpaw"
    worker: tuple[str, ...] = _WORKER
    package: str = "gpaw"

    def unavailable_reason(self) -> str:
        """Empty if GPAW and its data sets are installed."""
        if util.find_spec(self.package) is None:
            return (
                "GPAW is not installed: it is compiled at set-up, which needs a C++ compiler; "
                "install one (e.g. g++) and run `make setup`."
            )
        if self.package == "gpaw" and util.find_spec("gpaw_data") is None:
            return "GPAW's data sets are not installed; run `make setup` or `pip install gpaw-data`."
        return ""

    def version(self) -> str:
        """Version of GPAW and of its data sets."""
        return _installed_version(self.package)

    def find_unsupported(self, atomic_numbers: list[int]) -> list[str]:
        """Elements without a PBE data set."""
        return sorted({symbol for symbol in _symbols(atomic_numbers) if symbol not in VALENCE_ELECTRONS})

    def count_electrons(self, atomic_numbers: list[int]) -> int:
        """Valence electrons of the data sets."""
        return sum(VALENCE_ELECTRONS[symbol] for symbol in _symbols(atomic_numbers))

    def calculate(
        self, cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, folder: Path
    ) -> EngineResult:
        """Run the worker on one crystal."""
        source, target, log = folder / "input.json", folder / "output.json", folder / "worker.log"
        magnetism = spin_and_u(cell, settings)
        source.write_text(json.dumps(_worker_input(cell, mesh, empty_bands, settings, magnetism)))
        request = {"source": str(source), "target": str(target), "folder": str(folder), "log": str(log)}
        # GPAW's own worker can also serve many inputs one after another, which saves its start-up time.
        serving = Serving((*_WORKER, "--serve"), request) if self.worker == _WORKER else None
        run_child(self.name, [*self.worker, str(source), str(target)], folder, log, settings, serving)
        return _read_output(target, cell, mesh, magnetism)


@cache
def _installed_version(package: str) -> str:
    try:
        version = metadata.version(package)
        return f"{version}+data{metadata.version('gpaw-data')}" if package == "gpaw" else version
    except metadata.PackageNotFoundError:
        return "none"


def _symbols(atomic_numbers: list[int]) -> list[str]:
    return [Element.from_Z(int(number)).symbol for number in atomic_numbers]


def _worker_input(
    cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, magnetism: SpinAndU
) -> dict[str, Any]:
    return {
        "atomic_numbers": cell.atomic_numbers.tolist(),
        "lattice": cell.lattice.tolist(),
        "frac_coords": cell.frac_coords.tolist(),
        "mesh": list(mesh),
        "empty_bands": empty_bands,
        "functional": settings.functional,
        "plane_wave_cutoff_ev": settings.plane_wave_cutoff_ev,
        "smearing_ev": settings.smearing_ev,
        "occupations": settings.occupations,
        "density_tolerance": settings.density_tolerance,
        "eigenstates_tolerance": settings.eigenstates_tolerance,
        "max_scf_iterations": settings.max_scf_iterations,
        "memory_limit_mib": settings.memory_limit_mib,
        "cpu_limit_s": settings.time_limit_s,
        "initial_moments": magnetism.initial_moments,
        "u_values_ev": magnetism.u_values_ev,
    }


def _note_on_moments(values: dict[str, Any]) -> list[str]:
    largest = float(values.get("largest_moment", 0.0))
    return [f"Largest moment of an atom: {largest:.2f} Bohr magnetons."] if largest else []


def _projections(weights: dict[str, Any]) -> Projections | None:
    if not weights:
        return None
    return Projections(tuple(weights), np.stack([np.asarray(values) for values in weights.values()], axis=-1))


def _read_output(target: Path, cell: Cell, mesh: tuple[int, int, int], magnetism: SpinAndU) -> EngineResult:
    """Parse the worker's file; anything unexpected counts as corrupt output."""
    try:
        values = json.loads(target.read_text())
        cpu_seconds = float(values["cpu_seconds"])
        status = JobStatus(values["status"])
        if status is not JobStatus.OK:
            raise EngineError(status, str(values["reason"]), cpu_seconds)
        return EngineResult(
            bands=MeshBands(
                energies_ev=np.asarray(values["energies_ev"], dtype=np.float64),
                irreducible_of_kpoint=np.asarray(values["irreducible_of_kpoint"], dtype=np.int64),
                mesh=mesh,
                lattice=cell.lattice,
                efermi=float(values["efermi"]),
                n_electrons=float(values["n_electrons"]),
            ),
            engine_version=str(values["engine_version"]),
            cpu_seconds=cpu_seconds,
            wall_seconds=float(values["wall_seconds"]),
            peak_memory_mib=float(values["peak_memory_mib"]),
            magnetization=float(values.get("magnetization", 0.0)),
            u_values_ev=magnetism.u_values_ev,
            notes=[*map(str, values.get("notes", [])), *_note_on_moments(values)],
            projections=_projections(values.get("projections", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        corrupt = JobStatus.CORRUPT_OUTPUT, f"The worker's output cannot be used: {type(error).__name__}: {error}."
        raise EngineError(*(fault_of_machine(error) or corrupt)) from error
