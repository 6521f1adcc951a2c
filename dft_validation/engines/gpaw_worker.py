"""One GPAW calculation in a process of its own: `python -m dft_validation.engines.gpaw_worker INPUT OUTPUT`.

The only file that imports GPAW, which is under the GPL; it exchanges two JSON files with the rest. It limits
its own memory and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

EXIT_MEMORY = 77  # as in child.py, which a worker short of memory must not load
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however it dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(memory_limit_mib: int) -> None:
    """Limit the address space; what is already in use counts.

    Raises
    ------
    MemoryError
        If more than the limit is in use already.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # macOS refuses to limit the address space: the time limit remains.
    if sys.platform != "linux":
        return
    limit = memory_limit_mib * 2**20
    _start_blas()
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if in_use > limit:
        raise MemoryError
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _start_blas() -> None:
    """Let the two copies of OpenBLAS take their buffers: later, short of memory, they would wait for ever."""
    import numpy as np
    from scipy import linalg

    matrix = np.eye(200, dtype=complex)
    linalg.eigh(matrix @ matrix)
    linalg.blas.zgemm(1.0, matrix, matrix)


def _cost(started: float) -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    to_mib = 2**10 if sys.platform == "linux" else 2**20
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.monotonic() - started,
        "peak_memory_mib": usage.ru_maxrss / to_mib,
    }


def _number_of_bands(inputs: dict[str, Any], symbols: list[str]) -> int:
    from gpaw import setup_data

    data_sets: Any = setup_data
    electrons = sum(int(data_sets.SetupData(symbol, inputs["functional"]).Nv) for symbol in symbols)
    return -(-electrons // 2) + int(inputs["empty_bands"])


def standard_orientation(lattice: list[list[float]]) -> Any:
    """The same lattice, turned so that its matrix is lower triangular with a positive diagonal.

    GPAW draws the cell into its log and fails to where a rectangular cell points along -x or -y.
    """
    from ase import cell

    untyped: Any = cell
    return untyped.Cell(lattice).standard_form()[0]


def _hubbard_setups(u_values_ev: dict[str, float]) -> dict[str, str]:
    """Data sets with U on the d shell; 0: occupations are not normalised within the sphere, as in VASP."""
    return {symbol: f":d,{u_ev},0" for symbol, u_ev in u_values_ev.items()}


def calculate(inputs: dict[str, Any], log_file: Path) -> dict[str, Any]:
    """Run the self-consistent calculation and read its bands."""
    import numpy as np
    from ase import Atoms
    from gpaw import GPAW, PW, FermiDirac
    from gpaw import __version__ as gpaw_version

    moments = inputs.get("initial_moments", [])
    atoms: Any = Atoms(
        numbers=inputs["atomic_numbers"],
        cell=standard_orientation(inputs["lattice"]),
        scaled_positions=inputs["frac_coords"],
        magmoms=moments or None,
        pbc=True,
    )
    atoms.calc = GPAW(
        mode=PW(inputs["plane_wave_cutoff_ev"]),
        xc=inputs["functional"],
        kpts={"size": tuple(inputs["mesh"]), "gamma": True},
        occupations=FermiDirac(inputs["smearing_ev"]),
        nbands=_number_of_bands(inputs, atoms.get_chemical_symbols()),
        spinpol=bool(moments),
        setups=_hubbard_setups(inputs.get("u_values_ev", {})),
        maxiter=inputs["max_scf_iterations"],
        convergence={"density": inputs["density_tolerance"], "eigenstates": inputs["eigenstates_tolerance"]},
        txt=str(log_file),
    )
    atoms.get_potential_energy()
    calc = atoms.calc
    n_irreducible = len(calc.get_ibz_k_points())
    energies = np.array(
        [
            [calc.get_eigenvalues(kpt=k, spin=spin) for k in range(n_irreducible)]
            for spin in range(calc.get_number_of_spins())
        ]
    )
    return {
        "energies_ev": energies.tolist(),
        "irreducible_of_kpoint": np.asarray(calc.get_bz_to_ibz_map()).tolist(),
        "efermi": float(calc.get_fermi_level()),
        "n_electrons": float(calc.get_number_of_electrons()),
        "magnetization": float(calc.get_magnetic_moment()) if moments else 0.0,
        "engine_version": str(gpaw_version),
    }


def _attempt(inputs: dict[str, Any], log_file: Path) -> dict[str, Any]:
    """Result of the calculation, or the kind of its failure with a sentence."""
    from gpaw import KohnShamConvergenceError

    try:
        return {"status": "ok", **calculate(inputs, log_file)}
    except KohnShamConvergenceError:
        steps = inputs["max_scf_iterations"]
        return {"status": "unconverged", "reason": f"The density did not converge in {steps} steps."}
    except FileNotFoundError as error:
        first_line = str(error).splitlines()[0] if str(error) else "a file is missing"
        return {"status": "unsupported_element", "reason": f"GPAW has no data set for an element: {first_line}"}


def main(arguments: list[str]) -> int:
    """Read the input file, calculate, write the output file in one step."""
    started = time.monotonic()
    _end_with_parent()
    source, target = Path(arguments[0]), Path(arguments[1])
    inputs = json.loads(source.read_text())
    try:
        _limit_memory(inputs["memory_limit_mib"])
        result = _attempt(inputs, target.with_suffix(".log"))
    except MemoryError:
        # The process may be too short of memory to write anything but its exit status.
        os._exit(EXIT_MEMORY)
    unfinished = target.with_suffix(".tmp")
    unfinished.write_text(json.dumps({**result, **_cost(started)}))
    unfinished.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
