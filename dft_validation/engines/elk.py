"""Elk as an engine: all-electron, elements up to plutonium; cross-check of GPAW and fallback for what it lacks.

Elk (https://elk.sourceforge.io, GPL) runs as a child process and reads and writes text files. It always exits with
status 0, so success is determined from its files and messages.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

from dft_validation.bands.kpoints import map_mesh, reciprocal_rotations
from dft_validation.bands.mesh import MeshBands
from dft_validation.engines.base import EngineResult
from dft_validation.engines.child import child_environment, read_tail, run_child
from dft_validation.engines.limited import EXIT_NOT_FOUND
from dft_validation.engines.magnetism import SpinAndU, spin_and_u
from dft_validation.results.outcomes import EngineError, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell

HARTREE_EV = 27.211386245988
BOHR_A = 0.529177210903
# Folders of the species files in Debian and in manual builds, relative to the folder of the program.
_SPECIES_FOLDERS = ("../share/elk-lapw/species", "../species", "../../species", "../share/elk/species")
# Field inside the muffin tins that induces a moment, in atomic units per Bohr magneton; it is reduced during the run.
_STARTING_FIELD = 0.05
_PBE = 20
_FERMI_DIRAC = 3
_SECONDS_FOR_VERSION = 30


@dataclass(frozen=True)
class ElkEngine:
    """Elk in a child process.

    Parameters
    ----------
    name
        Name in settings and tables.
    command
        Program to run instead of the one in the settings.
    """

    name: str = "elk"
    command: str = ""

    def _command(self, settings: DftSettings | None = None) -> str:
        default = str(DftSettings.model_fields["elk_command"].default)
        return self.command or (settings.elk_command if settings else default)

    def unavailable_reason(self) -> str:
        """Empty if the program and its species files are installed."""
        command = self._command()
        if shutil.which(command) is None:
            return f"Elk is not installed: program '{command}' not found; install it (Debian: apt install elk-lapw)."
        if find_species_folder(command) is None:
            return f"Elk's species files are not beside '{command}'; install Elk completely."
        return ""

    def version(self) -> str:
        """Version printed by the program, "none" if it is not installed."""
        path = shutil.which(self._command())
        return "none" if path is None else f"elk-{_printed_version(path)}"

    def find_unsupported(self, atomic_numbers: list[int]) -> list[str]:
        """Elements without a species file; empty if Elk is not installed, which `unavailable_reason` reports."""
        folder = find_species_folder(self._command())
        symbols = {_symbol(number) for number in atomic_numbers}
        return sorted(symbol for symbol in symbols if folder is not None and not (folder / f"{symbol}.in").is_file())

    def count_electrons(self, atomic_numbers: list[int]) -> int:
        """Electrons outside the core according to the species files."""
        folder = find_species_folder(self._command())
        if folder is None:
            return 0
        return sum(_valence_electrons(folder / f"{_symbol(number)}.in") for number in atomic_numbers)

    def calculate(
        self, cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, folder: Path
    ) -> EngineResult:
        """Run Elk on one crystal."""
        command = self._command(settings)
        species = find_species_folder(command)
        if shutil.which(command) is None or species is None:
            raise EngineError(JobStatus.ENGINE_UNAVAILABLE, f"Program '{command}' with its species files not found.")
        missing = self.find_unsupported(cell.atomic_numbers.tolist())
        if missing:
            raise EngineError(JobStatus.UNSUPPORTED_ELEMENT, f"Elk has no species file for {', '.join(missing)}.")
        magnetism = spin_and_u(cell, settings)
        (folder / "elk.in").write_text(elk_input(cell, mesh, empty_bands, settings, magnetism, species))
        log, cost = folder / "elk.log", folder / "cost.json"
        limits = [str(settings.memory_limit_mib), str(math.ceil(settings.time_limit_s))]
        launcher = [sys.executable, "-m", "dft_validation.engines.limited", *limits, str(cost)]
        try:
            run_child(self.name, [*launcher, command], folder, log, settings)
        except EngineError as error:
            if f"status {EXIT_NOT_FOUND}" in error.reason:
                raise EngineError(JobStatus.ENGINE_UNAVAILABLE, f"'{command}' cannot be started.") from error
            raise
        return _read_run(folder, log, cell, mesh, magnetism, settings)


def _symbol(atomic_number: int) -> str:
    return Element.from_Z(int(atomic_number)).symbol


def find_species_folder(command: str) -> Path | None:
    """Folder of the program's species files, None if there is none."""
    path = shutil.which(command)
    if path is None:
        return None
    folders = [Path(path).resolve().parent / folder for folder in _SPECIES_FOLDERS]
    return next((folder.resolve() for folder in folders if (folder / "H.in").is_file()), None)


@cache
def _printed_version(path: str) -> str:
    """Version in the first lines of output; without an input file the program stops immediately."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            printed = subprocess.run(
                [path],
                cwd=folder,
                env=child_environment(),
                capture_output=True,
                text=True,
                timeout=_SECONDS_FOR_VERSION,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"
    found = re.search(r"version\s+([\d.]+)", printed)
    return found.group(1) if found else "unknown"


@cache
def _valence_electrons(species_file: Path) -> int:
    """Sum of the occupations of the states not marked as core in the file."""
    states = re.findall(r"^\s*\d+\s+\d+\s+\d+\s+([\d.]+)\s+F\b", species_file.read_text(), flags=re.MULTILINE)
    return round(sum(float(occupation) for occupation in states))


def elk_input(
    cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, magnetism: SpinAndU, species: Path
) -> str:
    """Text of `elk.in`: self-consistent bands on the mesh, in atomic units."""
    blocks: dict[str, list[str]] = {
        "tasks": ["0"],
        "xctype": [str(_PBE)],
        "avec": [_numbers(vector / BOHR_A) for vector in cell.lattice],
        "atoms": _atoms_block(cell, magnetism),
        "tshift": [".false."],
        "sppath": [f"'{species}/'"],
        "ngridk": [" ".join(str(n) for n in mesh)],
        "rgkmax": [str(settings.elk_rgkmax)],
        "stype": [str(_FERMI_DIRAC)],
        "swidth": [f"{settings.smearing_ev / HARTREE_EV:.8f}"],
        "nempty": [f"{empty_bands / cell.n_atoms:.6f}"],
        "maxscl": [str(settings.max_scf_iterations)],
    }
    if magnetism.initial_moments:
        blocks["spinpol"] = [".true."]
        blocks["reducebf"] = ["0.7"]
    if magnetism.u_values_ev:
        blocks["dft+u"] = _u_block(cell, magnetism)
    return "".join(f"{name}\n" + "".join(f"  {line}\n" for line in lines) + "\n" for name, lines in blocks.items())


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.12f}" for value in values)


def _species_of(cell: Cell) -> list[int]:
    """Atomic numbers in Elk's order, that of first appearance."""
    return list(dict.fromkeys(cell.atomic_numbers.tolist()))


def _atoms_block(cell: Cell, magnetism: SpinAndU) -> list[str]:
    species = _species_of(cell)
    lines = [str(len(species))]
    for number in species:
        atoms = np.flatnonzero(cell.atomic_numbers == number)
        lines += [f"'{_symbol(number)}.in'", str(len(atoms))]
        for atom in atoms:
            moment = magnetism.initial_moments[atom] if magnetism.initial_moments else 0.0
            lines.append(f"{_numbers(cell.frac_coords[atom])}  0.0 0.0 {-_STARTING_FIELD * moment:.6f}")
    return lines


def _u_block(cell: Cell, magnetism: SpinAndU) -> list[str]:
    """Fully localised limit (1) with U and J (1) on the d shell (2); J is part of the effective U."""
    species = {_symbol(number): index for index, number in enumerate(_species_of(cell), start=1)}
    values = magnetism.u_values_ev.items()
    return ["1 1", *(f"{species[symbol]} 2 {u_ev / HARTREE_EV:.8f} 0.0" for symbol, u_ev in values)]


def _read_run(
    folder: Path, log: Path, cell: Cell, mesh: tuple[int, int, int], magnetism: SpinAndU, settings: DftSettings
) -> EngineResult:
    """Result of a run; raises if there is none."""
    try:
        cost = {name: float(value) for name, value in json.loads((folder / "cost.json").read_text()).items()}
        printed, info = read_tail(log), _text(folder / "INFO.OUT")
        _refuse_failed_run(printed, info, cost["cpu_seconds"], settings)
        energies, occupations, kpoints = read_eigenvalues(folder / "EIGVAL.OUT")
        channels = _split_spins(energies, spin_polarised=bool(magnetism.initial_moments))
        filled = _split_spins(occupations, spin_polarised=bool(magnetism.initial_moments))
        weights = np.loadtxt(folder / "KPOINTS.OUT", skiprows=1, ndmin=2)[:, 4]
        electrons = np.einsum("skb,k->s", filled, weights)
        if len(channels) > 1 and electrons[1] > electrons[0]:
            channels, electrons = channels[::-1], electrons[::-1]
        bands = MeshBands(
            energies_ev=channels * HARTREE_EV,
            irreducible_of_kpoint=map_mesh(kpoints, weights, mesh, reciprocal_rotations(cell)),
            mesh=mesh,
            lattice=cell.lattice,
            efermi=float(_text(folder / "EFERMI.OUT")) * HARTREE_EV,
            n_electrons=_valence_charge(info),
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        corrupt = JobStatus.CORRUPT_OUTPUT, f"Elk's output cannot be used: {type(error).__name__}: {error}"
        raise EngineError(*(fault_of_machine(error) or corrupt)) from error
    found = re.search(r"Elk version ([\d.]+)", info)
    return EngineResult(
        bands=bands,
        engine_version=found.group(1) if found else "unknown",
        cpu_seconds=cost["cpu_seconds"],
        wall_seconds=cost["wall_seconds"],
        peak_memory_mib=cost["peak_memory_mib"],
        magnetization=float(electrons[0] - electrons[1]) if len(electrons) > 1 else 0.0,
        u_values_ev=magnetism.u_values_ev,
    )


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _refuse_failed_run(printed: str, info: str, cpu_seconds: float, settings: DftSettings) -> None:
    if "Reached self-consistent loops maximum" in info or "failed to reach self-consistency" in printed:
        reason = f"The density did not converge in {settings.max_scf_iterations} steps."
        raise EngineError(JobStatus.UNCONVERGED, reason, cpu_seconds)
    error = re.search(r"Error\(\w+\): *(.+)", printed)
    if error:
        status = JobStatus.UNSUPPORTED_ELEMENT if "species file" in error.group(1) else JobStatus.CRASHED
        raise EngineError(status, f"Elk stopped: {error.group(1).strip()[:300]}.", cpu_seconds)
    if "Convergence targets achieved" not in info:
        raise EngineError(JobStatus.CORRUPT_OUTPUT, "Elk ended without reporting convergence in INFO.OUT.", cpu_seconds)


def _valence_charge(info: str) -> float:
    found = re.search(r"Total valence charge\s*:\s*([\d.]+)", info)
    if found is None:
        raise ValueError("INFO.OUT does not give the valence charge.")
    return round(float(found.group(1)), 6)


def read_eigenvalues(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Read `EIGVAL.OUT`.

    Returns
    -------
    tuple
        Energies in Hartree and occupations, shape (n_kpoints, n_states) each; k-points in fractional coordinates,
        shape (n_kpoints, 3).

    Raises
    ------
    ValueError, IndexError
        If the file is truncated or has another format.
    """
    lines = [line.split(":")[0].split() for line in path.read_text().splitlines()]
    rows = [words for words in lines if words and not words[0].startswith("(")]
    n_kpoints, n_states = int(rows[0][0]), int(rows[1][0])
    if len(rows) != 2 + n_kpoints * (1 + n_states):
        raise ValueError(
            f"EIGVAL.OUT announces {n_kpoints} k-points with {n_states} states, but its lines do not match."
        )
    blocks = [rows[2 + k * (1 + n_states) : 2 + (k + 1) * (1 + n_states)] for k in range(n_kpoints)]
    kpoints = np.array([block[0][1:4] for block in blocks], dtype=np.float64)
    states = np.array([[words[1:3] for words in block[1:]] for block in blocks], dtype=np.float64)
    return states[:, :, 0], states[:, :, 1], kpoints


def _split_spins(values: NDArray[np.float64], *, spin_polarised: bool) -> NDArray[np.float64]:
    """Channels of collinear states, shape (n_spins, n_kpoints, n_bands): Elk lists all states of one spin, then the other."""
    if not spin_polarised:
        return values[None]
    n_bands = values.shape[1] // 2
    return np.stack([values[:, :n_bands], values[:, n_bands:]])
