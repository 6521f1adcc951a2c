"""GPAW as an engine: writes the input of a worker process, runs it under limits, reads its output."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

from dft_validation.bands import MeshBands
from dft_validation.cells import Cell
from dft_validation.engines.base import EngineResult
from dft_validation.engines.gpaw_setups import VALENCE_ELECTRONS
from dft_validation.engines.gpaw_worker import EXIT_MEMORY
from dft_validation.outcomes import EngineError, JobStatus
from dft_validation.processes import ChildResult, current_group
from dft_validation.settings import DftSettings

_WORKER = (sys.executable, "-m", "dft_validation.engines.gpaw_worker")
_PROJECT_ROOT = Path(__file__).resolve().parents[2]
# What interpreters and allocators print when an address-space limit is hit outside Python's own allocator.
_MEMORY_MESSAGES = (
    "MemoryError",
    "Cannot allocate memory",
    "std::bad_alloc",
    "failed to map segment",
    "Unable to allocate",
)
_LOG_TAIL_CHARACTERS = 20_000


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
        source.write_text(json.dumps(_worker_input(cell, mesh, empty_bands, settings)))
        try:
            ended = current_group().run(
                [*self.worker, str(source), str(target)],
                folder=folder,
                log=log,
                environment=_environment(),
                time_limit_s=settings.time_limit_s,
            )
        except OSError as error:
            raise EngineError(
                JobStatus.ENGINE_UNAVAILABLE, f"The worker of {self.name} cannot be started: {error}."
            ) from error
        _refuse_bad_end(ended, log, settings)
        return _read_output(target, cell, mesh)


@cache
def _installed_version(package: str) -> str:
    try:
        version = metadata.version(package)
        return f"{version}+data{metadata.version('gpaw-data')}" if package == "gpaw" else version
    except metadata.PackageNotFoundError:
        return "none"


def _symbols(atomic_numbers: list[int]) -> list[str]:
    from pymatgen.core import Element

    return [Element.from_Z(int(number)).symbol for number in atomic_numbers]


def _worker_input(cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings) -> dict[str, Any]:
    return {
        "atomic_numbers": cell.atomic_numbers.tolist(),
        "lattice": cell.lattice.tolist(),
        "frac_coords": cell.frac_coords.tolist(),
        "mesh": list(mesh),
        "empty_bands": empty_bands,
        "functional": settings.functional,
        "plane_wave_cutoff_ev": settings.plane_wave_cutoff_ev,
        "smearing_ev": settings.smearing_ev,
        "density_tolerance": settings.density_tolerance,
        "eigenstates_tolerance": settings.eigenstates_tolerance,
        "max_scf_iterations": settings.max_scf_iterations,
        "memory_limit_mib": settings.memory_limit_mib,
    }


def _environment() -> dict[str, str]:
    """Environment of the worker: one thread (more are six times slower on small cells), this package importable."""
    inherited = dict(os.environ)
    paths = [str(_PROJECT_ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    return {
        **inherited,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
    }


def _refuse_bad_end(ended: ChildResult, log: Path, settings: DftSettings) -> None:
    """Turn the end of a worker that wrote no output into the kind of its failure."""
    spent = ended.wall_seconds
    if ended.stopped:
        raise EngineError(
            JobStatus.INTERRUPTED, "The run was stopped while this job ran; run again to finish it.", spent
        )
    if ended.timed_out:
        raise EngineError(
            JobStatus.TIME_LIMIT,
            f"Stopped after the time limit of {settings.time_limit_s:g} s; raise time_limit_s or leave it out.",
            spent,
        )
    if ended.returncode == 0:
        return
    tail = _tail(log)
    killed = ended.returncode == -signal.SIGKILL
    if ended.returncode == EXIT_MEMORY or killed or any(message in tail for message in _MEMORY_MESSAGES):
        how = "ended by the system" if killed else f"stopped at the memory limit of {settings.memory_limit_mib} MiB"
        raise EngineError(JobStatus.MEMORY_LIMIT, f"The job was {how}; raise memory_limit_mib or leave it out.", spent)
    if "No space left on device" in tail:
        raise EngineError(
            JobStatus.DISK_FULL, "The disk was full while the job ran; free some space, run again.", spent
        )
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    last = lines[-1] if lines else "it printed nothing"
    raise EngineError(JobStatus.CRASHED, f"The worker ended with status {ended.returncode}: {last[:300]}", spent)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if log.exists() else ""


def _read_output(target: Path, cell: Cell, mesh: tuple[int, int, int]) -> EngineResult:
    """Parse the worker's file; anything odd in it is a corrupt output."""
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
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            JobStatus.CORRUPT_OUTPUT, f"The worker's output cannot be used: {type(error).__name__}: {error}."
        ) from error
