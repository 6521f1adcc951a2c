"""VASP through atomate2: whether it can run here, a check of the POTCARs, parsing of the output.

VASP is licensed and its POTCARs cannot be shipped; nothing here needs either until a flow runs.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dft_validation.bands.kpoints import find_mesh, map_mesh, reciprocal_rotations
from dft_validation.bands.mesh import MeshBands, Projections
from dft_validation.engines.base import EngineResult
from dft_validation.engines.gpaw_setups import VALENCE_ELECTRONS
from dft_validation.results.outcomes import EngineError, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from pymatgen.io.vasp import Vasprun

_TYPICAL_VALENCE = 12
# Places of the orbitals of a shell among those of a vasprun.xml with LORBIT 11: s, py, pz, px, dxy, ...
_ORBITALS_OF_SHELLS = {"s": slice(0, 1), "p": slice(1, 4), "d": slice(4, 9), "f": slice(9, 16)}
_ORBITALS_TO_D = 9
RUNS_AS_FLOW = "VASP runs as a flow of several jobs, see EdosMaker.make; there is no single calculation to run."


@dataclass(frozen=True)
class VaspEngine:
    """VASP as a flow of atomate2 jobs, `EdosMaker.make`.

    Where VASP works the local queue runs the flow; elsewhere it goes to another machine through jobflow-remote.
    """

    name: str = "vasp"

    def unavailable_reason(self) -> str:
        """Empty if atomate2, VASP and POTCARs are here."""
        if util.find_spec("atomate2") is None:
            return "atomate2 is not installed; run `pip install atomate2` with constraints.txt."
        command = _vasp_command()
        if shutil.which(command) is None:
            return (
                f"VASP is not installed: program '{command}' not found; set VASP_CMD in ~/.atomate2.yaml, or submit the jobs to a "
                "machine that has it: `mat2spec dft run --remote`."
            )
        return find_library_problem()

    def version(self) -> str:
        """Version of the sets; that of VASP itself is recorded in the document."""
        try:
            return f"atomate2-{metadata.version('atomate2')}+pymatgen-{metadata.version('pymatgen')}"
        except metadata.PackageNotFoundError:
            return "none"

    def find_unsupported(self, atomic_numbers: list[int]) -> list[str]:
        """Elements for which the Materials Project's set names no POTCAR."""
        from pymatgen.core import Element
        from pymatgen.io.vasp.sets import MPRelaxSet

        known = MPRelaxSet.CONFIG["POTCAR"]
        symbols = {Element.from_Z(int(number)).symbol for number in atomic_numbers}
        return sorted(symbol for symbol in symbols if symbol not in known)

    def count_electrons(self, atomic_numbers: list[int]) -> int:
        """Valence electrons of GPAW's data sets, as an estimate: VASP's are given in the POTCARs."""
        from pymatgen.core import Element

        symbols = [Element.from_Z(int(number)).symbol for number in atomic_numbers]
        return sum(VALENCE_ELECTRONS.get(symbol, _TYPICAL_VALENCE) for symbol in symbols)

    def calculate(
        self, cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, folder: Path
    ) -> EngineResult:
        """Refuse: a VASP calculation is a flow of several jobs."""
        del cell, mesh, empty_bands, settings, folder
        raise EngineError(JobStatus.ENGINE_UNAVAILABLE, RUNS_AS_FLOW)


def _vasp_command() -> str:
    """Program that atomate2 would start, without options of the launcher."""
    from atomate2 import SETTINGS

    words = os.path.expandvars(SETTINGS.VASP_CMD).split()
    return words[-1] if words else "vasp_std"


def find_library_problem() -> str:
    """What is wrong with the folder of POTCARs configured in pymatgen; empty if nothing."""
    from pymatgen.core import SETTINGS

    folder = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not folder:
        return (
            "pymatgen does not know where the POTCARs are: run `pmg config -p <VASP's POTCAR folder> <new folder>` "
            "and `pmg config --add PMG_VASP_PSP_DIR <new folder>`."
        )
    if not Path(str(folder)).expanduser().is_dir():
        return f"The folder of POTCARs, PMG_VASP_PSP_DIR = {folder}, does not exist; correct ~/.config/.pmgrc.yaml."
    return ""


def find_potcar_problem(structure: Structure) -> str:
    """Why this crystal's POTCARs cannot be written; empty if they can.

    Checks only that the files exist, in either of the layouts that pymatgen reads.
    """
    from pymatgen.core import SETTINGS
    from pymatgen.io.vasp.inputs import PotcarSingle
    from pymatgen.io.vasp.sets import MPRelaxSet

    problem = find_library_problem()
    if problem:
        return problem
    functional = str(MPRelaxSet.CONFIG["POTCAR_FUNCTIONAL"])
    renamed = SETTINGS.get("PMG_VASP_PSP_SUB_DIRS", {})
    subfolder = renamed.get(functional, PotcarSingle.functional_dir[functional])
    folder = Path(str(SETTINGS["PMG_VASP_PSP_DIR"])).expanduser() / subfolder
    symbols = potcar_symbols(structure)
    missing = sorted({symbol for symbol in symbols.values() if not _has_potcar(folder, symbol)})
    if missing:
        return (
            f"The POTCARs {', '.join(missing)} ({functional}) are not in {folder}; the Materials Project's settings "
            "need exactly these."
        )
    return ""


def potcar_symbols(structure: Structure) -> dict[str, str]:
    """POTCAR of each element by the Materials Project's set."""
    from pymatgen.io.vasp.sets import MPRelaxSet

    chosen = MPRelaxSet.CONFIG["POTCAR"]
    return {str(element): str(chosen.get(str(element), element)) for element in structure.composition.elements}


def _has_potcar(folder: Path, symbol: str) -> bool:
    stems = (folder / f"POTCAR.{symbol}", folder / symbol / "POTCAR")
    return any(Path(f"{stem}{ending}").is_file() for stem in stems for ending in ("", ".gz", ".bz2", ".Z", ".xz"))


def read_vasp_folder(uniform: Path, static: Path | None = None) -> tuple[Cell, EngineResult]:
    """Bands of a uniform run, and the cost of it and the static run.

    Parameters
    ----------
    uniform
        Folder with `vasprun.xml`, compressed or not; the cost is read from `OUTCAR` if present.
    static
        Folder of the self-consistent run, checked for convergence and cost.

    Raises
    ------
    EngineError
        If a file is missing or damaged, or the density did not converge.
    """
    runs = [_read_vasprun(folder, projected=folder is uniform) for folder in (static, uniform) if folder is not None]
    for run in runs:
        if not run.converged_electronic:
            steps = run.parameters.get("NELM", "the allowed number of")
            raise EngineError(JobStatus.UNCONVERGED, f"VASP's density did not converge in {steps} steps.")
    try:
        cell, bands = bands_of_vasprun(runs[-1])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise EngineError(JobStatus.CORRUPT_OUTPUT, f"VASP's bands cannot be used: {error}") from error
    folders = [folder for folder in (static, uniform) if folder is not None]
    cpu, wall, memory = (np.array([_cost(folder) for folder in folders])).T
    return cell, EngineResult(
        bands=bands,
        engine_version=str(runs[-1].vasp_version).strip(),
        cpu_seconds=float(cpu.sum()),
        wall_seconds=float(wall.sum()),
        peak_memory_mib=float(memory.max()),
        magnetization=_magnetization(runs[-1], bands),
        u_values_ev={symbol: float(u) for symbol, u in runs[-1].hubbards.items() if u > 0},
        projections=_projections(runs[-1]),
    )


def _find_file(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}{ending}" for ending in ("", ".gz", ".xz", ".bz2"))
    return next((path for path in candidates if path.is_file()), None)


def _read_vasprun(folder: Path, *, projected: bool) -> Vasprun:
    from pymatgen.io.vasp import Vasprun

    path = _find_file(folder, "vasprun.xml")
    if path is None:
        raise EngineError(JobStatus.CORRUPT_OUTPUT, f"There is no vasprun.xml in {folder}.")
    try:
        return Vasprun(str(path), parse_potcar_file=False, exception_on_bad_xml=True, parse_projected_eigen=projected)
    except Exception as error:  # pymatgen lets errors of several XML and number parsers through
        corrupt = JobStatus.CORRUPT_OUTPUT, f"{path.name} cannot be read: {type(error).__name__}: {error}"
        raise EngineError(*(fault_of_machine(error) or corrupt)) from error


def bands_of_vasprun(run: Vasprun) -> tuple[Cell, MeshBands]:
    """Bands on the full mesh, from the listed k-points and the symmetry of the crystal.

    Raises
    ------
    ValueError
        If the k-points are not a uniform mesh around Gamma.
    """
    structure = run.final_structure
    cell = Cell(
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.frac_coords, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
    )
    kpoints = np.asarray(run.actual_kpoints, dtype=np.float64)
    weights = np.asarray(run.actual_kpoints_weights, dtype=np.float64)
    rotations = reciprocal_rotations(cell)
    mesh = find_mesh(kpoints, rotations)
    by_spin = {int(spin.value): values for spin, values in (run.eigenvalues or {}).items()}
    energies = np.array([by_spin[spin][..., 0] for spin in sorted(by_spin, reverse=True)], dtype=np.float64)
    return cell, MeshBands(
        energies_ev=energies,
        irreducible_of_kpoint=map_mesh(kpoints, weights, mesh, rotations),
        mesh=mesh,
        lattice=cell.lattice,
        # VASP's own may lie inside a band that is full by tetrahedra.
        efermi=float(run.calculate_efermi()),
        n_electrons=float(run.parameters["NELECT"]),
    )


def _projections(run: Vasprun) -> Projections | None:
    """Projections of the bands on the shells of each element (LORBIT); None if VASP wrote none."""
    if not run.projected_eigenvalues:
        return None
    by_spin = {int(spin.value): values for spin, values in run.projected_eigenvalues.items()}
    # Shape (n_spins, n_kpoints, n_bands, n_atoms, n_orbitals).
    weights = np.array([by_spin[spin] for spin in sorted(by_spin, reverse=True)], dtype=np.float64)
    if weights.shape[-1] < _ORBITALS_TO_D:
        return None  # LORBIT 10 sums over the orbitals of a shell
    symbols = [site.specie.symbol for site in run.final_structure]
    channels: dict[str, NDArray[np.float64]] = {}
    for shell, orbitals in _ORBITALS_OF_SHELLS.items():
        of_atoms = weights[..., orbitals].sum(axis=-1)
        for symbol in dict.fromkeys(symbols):
            of_element = of_atoms[..., [other == symbol for other in symbols]].sum(axis=-1)
            if of_element.any():
                channels[f"{symbol}-{shell}"] = of_element
    names = sorted(channels)
    return Projections(tuple(names), np.stack([channels[name] for name in names], axis=-1)) if names else None


def _magnetization(run: Vasprun, bands: MeshBands) -> float:
    """Difference of the occupations of the channels, in Bohr magnetons per cell."""
    if bands.energies_ev.shape[0] == 1:
        return 0.0
    by_spin = {int(spin.value): values for spin, values in (run.eigenvalues or {}).items()}
    weights = np.asarray(run.actual_kpoints_weights, dtype=np.float64)
    up, down = (np.einsum("kb,k->", by_spin[spin][..., 1], weights) for spin in (1, -1))
    return float(up - down)


def _cost(folder: Path) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and MiB of one run from its OUTCAR; zero where not given."""
    from pymatgen.io.vasp import Outcar

    path = _find_file(folder, "OUTCAR")
    if path is None:
        return 0.0, 0.0, 0.0
    stats = Outcar(str(path)).run_stats
    cpu, wall, kilobytes = (
        float(stats.get(name) or 0.0)
        for name in ("Total CPU time used (sec)", "Elapsed time (sec)", "Maximum memory used (kb)")
    )
    return cpu * float(stats.get("cores") or 1), wall, kilobytes / 1024
