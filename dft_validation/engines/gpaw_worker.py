"""GPAW calculations, each in its own process.

`python -m dft_validation.engines.gpaw_worker INPUT OUTPUT` computes one crystal; with `--serve` it takes one request a
line from standard input (JSON with `source`, `target`, `folder` and `log`), computes each in a fork of itself, which
avoids GPAW's start-up time of seconds, and answers each with a line that says how the fork ended.

The only file that imports GPAW, which is under the GPL; it exchanges JSON files with the rest. A calculation limits its
own memory and CPU time and ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from dft_validation.engines.limits import end_with_parent, limit_cpu, make_session_as_nice, started_by

EXIT_MEMORY = 77  # as in child.py, which a worker short of memory must not import
SERVE = "--serve"
# If the density does not converge with GPAW's own mixer, it is mixed in smaller steps.
_DAMPED_MIXER = {"backend": "pulay", "beta": 0.02, "nmaxold": 5, "weight": 100.0}
_FERMI_RESOLUTION_EV = 1e-10
_EXCESS_ELECTRONS = 1e-6


def _limit_memory(memory_limit_mib: int) -> None:
    """Limit the address space, including what is already in use.

    Raises
    ------
    MemoryError
        If more than the limit is in use already.
    """
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
    """Let the two copies of OpenBLAS allocate their buffers: later, when short of memory, they would wait forever."""
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
    """The same lattice, rotated so that its matrix is lower triangular with a positive diagonal.

    GPAW draws the cell in its log, which fails if a rectangular cell points along -x or -y.
    """
    from ase import cell

    untyped: Any = cell
    return untyped.Cell(lattice).standard_form()[0]


def _hubbard_setups(u_values_ev: dict[str, float]) -> dict[str, str]:
    """Data sets with U on the d shell; 0: occupations are not normalised within the sphere, as in VASP."""
    return {symbol: f":d,{u_ev},0" for symbol, u_ev in u_values_ev.items()}


def _occupations(inputs: dict[str, Any]) -> dict[str, Any]:
    if inputs.get("occupations") == "tetrahedra":
        return {"name": "improved-tetrahedron-method"}
    return {"name": "fermi-dirac", "width": inputs["smearing_ev"]}


class _FermiEnergySearch:
    """GPAW's search for the tetrahedron Fermi energy, extended to the first steps.

    Its bisection requires the exact number of electrons, which does not exist for bands that are not yet ordered, as in
    the first steps; there the energy at which too few become too many is used. `excess` is the error of the last search.
    """

    def __init__(self) -> None:
        from gpaw import occupations

        self._find: Any = occupations.findroot
        self.excess = 0.0

    def __call__(self, count: Any, guess: float) -> tuple[float, int]:
        try:
            found, self.excess = self._find(count, guess), 0.0
        except AssertionError:
            low, high = (_first_of_sign(count, guess, sign) for sign in (-1, 1))
            while high - low > _FERMI_RESOLUTION_EV:
                middle = (low + high) / 2
                low, high = (middle, high) if count(middle)[0] < 0 else (low, middle)
            found, self.excess = (high, 0), abs(float(count(high)[0]))
        return found

    def check(self) -> None:
        """Refuse a result whose Fermi energy does not give the number of electrons."""
        if self.excess > _EXCESS_ELECTRONS:
            raise ValueError(
                f"No Fermi energy gives the number of electrons: the best one is off by {self.excess:.1e} electrons."
            )


def _first_of_sign(count: Any, guess: float, sign: int) -> float:
    """The first energy below (-1) or above (1) the guess with too few or too many electrons."""
    step = 0.01
    while sign * count(guess)[0] <= 0:
        guess += sign * step
        step *= 2
    return guess


def calculate(inputs: dict[str, Any], log_file: Path, mixer: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the self-consistent calculation and read its bands and their projections.

    Parameters
    ----------
    inputs
        Crystal and settings, as `dft_validation.engines.gpaw` writes them.
    log_file
        GPAW's own log.
    mixer
        Density mixer; GPAW's default if None.
    """
    from ase import Atoms
    from gpaw import GPAW, PW, tetrahedron
    from gpaw import __version__ as gpaw_version

    untyped: Any = tetrahedron
    untyped.findroot = search = _FermiEnergySearch()

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
        occupations=_occupations(inputs),
        nbands=_number_of_bands(inputs, atoms.get_chemical_symbols()),
        spinpol=bool(moments),
        setups=_hubbard_setups(inputs.get("u_values_ev", {})),
        maxiter=inputs["max_scf_iterations"],
        convergence={"density": inputs["density_tolerance"], "eigenstates": inputs["eigenstates_tolerance"]},
        txt=str(log_file),
        mixer=mixer,
    )
    atoms.get_potential_energy()
    search.check()
    calc = atoms.calc
    energies = _eigenvalues(calc)
    return {
        "energies_ev": energies.tolist(),
        "irreducible_of_kpoint": np.asarray(calc.get_bz_to_ibz_map()).tolist(),
        "efermi": float(calc.get_fermi_level()),
        "n_electrons": float(calc.get_number_of_electrons()),
        "magnetization": float(calc.get_magnetic_moment()) if moments else 0.0,
        # Of moments that alternate the sum says nothing.
        "largest_moment": float(np.abs(calc.get_magnetic_moments()).max()) if min(moments, default=0) < 0 else 0.0,
        "engine_version": str(gpaw_version),
        "projections": _projections(calc, atoms.get_chemical_symbols(), energies.shape),
    }


def _eigenvalues(calc: Any) -> NDArray[np.float64]:
    """Energies in eV at the irreducible k-points, shape (n_spins, n_kpoints, n_bands)."""
    kpoints, spins = range(len(calc.get_ibz_k_points())), range(calc.get_number_of_spins())
    return np.array([[calc.get_eigenvalues(kpt=kpoint, spin=spin) for kpoint in kpoints] for spin in spins])


def _projections(calc: Any, symbols: list[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """Squared overlaps of the bands with the bound partial waves, summed over the atoms of an element and over m.

    Owing to the sum over equivalent atoms, the values at an irreducible k-point hold for all its images.
    """
    weights: dict[str, Any] = {}
    for kpt in calc.wfs.kpt_u:
        for atom, symbol in enumerate(symbols):
            setup = calc.wfs.setups[atom]
            overlaps = np.abs(np.asarray(kpt.projections[atom])) ** 2
            first = 0
            for angular, principal in zip(setup.l_j, setup.n_j, strict=True):
                last = first + 2 * angular + 1
                if principal > 0:
                    channel = weights.setdefault(f"{symbol}-{'spdf'[angular]}", np.zeros(shape))
                    channel[kpt.s, kpt.k] += overlaps[:, first:last].sum(axis=1)
                first = last
    return {name: np.round(values, 4).tolist() for name, values in sorted(weights.items())}


def _attempt(inputs: dict[str, Any], log_file: Path) -> dict[str, Any]:
    """Result of the calculation, or the kind of failure with a sentence."""
    from gpaw import KohnShamConvergenceError

    steps = inputs["max_scf_iterations"]
    method = "difference" if inputs.get("initial_moments") else "separate"
    damped = {"method": method, **_DAMPED_MIXER}
    try:
        try:
            return {"status": "ok", **calculate(inputs, log_file)}
        except KohnShamConvergenceError:
            note = f"The density converged only with {_spell(damped)}, not with GPAW's own mixer in {steps} steps."
            return {"status": "ok", **calculate(inputs, log_file, damped), "notes": [note]}
    except KohnShamConvergenceError:
        reason = f"The density did not converge in {steps} steps, nor in {steps} more with {_spell(damped)}."
        return {"status": "unconverged", "reason": reason}
    except FileNotFoundError as error:
        first_line = str(error).splitlines()[0] if str(error) else "a file is missing"
        return {"status": "unsupported_element", "reason": f"GPAW has no data set for an element: {first_line}"}


def _spell(mixer: dict[str, Any]) -> str:
    return f"a damped mixer ({', '.join(f'{name} {value}' for name, value in mixer.items())})"


def _compute(source: Path, target: Path, started: float) -> None:
    """Read the input file, calculate, and write the output file atomically."""
    inputs = json.loads(source.read_text())
    try:
        limit_cpu(inputs["cpu_limit_s"])
        _limit_memory(inputs["memory_limit_mib"])
        result = _attempt(inputs, target.with_suffix(".log"))
    except MemoryError:
        # The process may be too short of memory to write anything but its exit status.
        os._exit(EXIT_MEMORY)
    unfinished = target.with_suffix(".tmp")
    unfinished.write_text(json.dumps({**result, **_cost(started)}))
    unfinished.replace(target)


def _serve() -> None:
    """Compute the requests on standard input, one fork per crystal, until it is closed."""
    import gpaw  # noqa: F401 - imported once, for all forks

    _start_blas()
    server = os.getpid()
    for line in sys.stdin:
        request = json.loads(line)
        fork = os.fork()
        if fork == 0:
            _compute_in_fork(request, server)
        _, status, _ = os.wait4(fork, 0)
        sys.stdout.write(json.dumps({"returncode": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


def _compute_in_fork(request: dict[str, str], server: int) -> NoReturn:
    try:
        end_with_parent(server)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.chdir(request["folder"])
        _compute(Path(request["source"]), Path(request["target"]), time.monotonic())
    except BaseException:  # noqa: BLE001 - after any error, it must not continue as a second server
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Compute one crystal, or serve."""
    started = time.monotonic()
    end_with_parent(started_by())
    make_session_as_nice()
    if arguments == [SERVE]:
        _serve()
    else:
        _compute(Path(arguments[0]), Path(arguments[1]), started)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
