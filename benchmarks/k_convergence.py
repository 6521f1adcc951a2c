"""Print how far the 128 bins of an eDOS move when the k-mesh gets twice as many points per atom.

    python benchmarks/k_convergence.py [--table FILE.json] [--density 350]

Ten crystals, from simple metals to perovskites, are computed with the default settings and again at twice the k-point
density, each with the band interpolation of the settings and without, and with the Fermi energy of the tetrahedra. Ten to fifteen minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from dft_validation.bands.cells import choose_mesh, prepare_cell
from dft_validation.bands.mesh import edos_of_bands, find_band_edges, tetrahedron_efermi
from dft_validation.engines import get_engine
from dft_validation.engines.base import EngineResult
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import cell_of
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.metrics import wasserstein_distances

# A busy machine must not end the benchmark.
_TIME_LIMIT_S = 3600.0
_WAYS = ("default", "without_interpolation", "finer_without_interpolation", "tetrahedron_efermi")


def _rocksalt(a: float, cation: str, anion: str) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def _perovskite(a: float, large: str, small: str) -> Structure:
    return Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(a), [large, small, "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )


def crystals() -> dict[str, Structure]:
    """Ten textbook crystals at their experimental lattice constants."""
    return {
        "Al": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]]),
        "Cu": Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]]),
        "W": Structure.from_spacegroup("Im-3m", Lattice.cubic(3.165), ["W"], [[0, 0, 0]]),
        "Ti": Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(2.95, 4.685), ["Ti"], [[1 / 3, 2 / 3, 0.25]]),
        "Si": Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
        "NaCl": _rocksalt(5.64, "Na", "Cl"),
        "AlN": Structure.from_spacegroup(
            "P6_3mc", Lattice.hexagonal(3.11, 4.98), ["Al", "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
        ),
        "MgB2": Structure.from_spacegroup(
            "P6/mmm", Lattice.hexagonal(3.086, 3.524), ["Mg", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
        ),
        "SrVO3": _perovskite(3.85, "Sr", "V"),
        "LaNiO3": _perovskite(3.84, "La", "Ni"),
    }


@dataclass(frozen=True)
class Spectra:
    """One calculation seen in several ways: shape (128,) each, states/eV per cell.

    `interpolated` is the default; `plain` has no interpolation; `own_zero` is relative to the Fermi energy of the
    tetrahedra (`fermi_energy = "tetrahedra"`).
    """

    mesh: tuple[int, int, int]
    cpu_seconds: float
    interpolated: NDArray[np.float64]
    plain: NDArray[np.float64]
    own_zero: NDArray[np.float64]


def compute(structure: Structure, settings: DftSettings) -> Spectra:
    """Bands of one crystal by the engine, and both spectra of them."""
    cell = prepare_cell(cell_of(structure), settings.symmetry_tolerance_a)
    mesh = choose_mesh(cell, settings.kpoint_density)
    empty_bands = 2 * (settings.extra_bands + settings.extra_bands_per_atom * cell.n_atoms)
    with tempfile.TemporaryDirectory() as folder:
        result: EngineResult = get_engine(settings.engine).calculate(cell, mesh, empty_bands, settings, Path(folder))
    bands = result.bands.without_last(settings.dropped_bands)
    vbm = find_band_edges(bands, settings.gap_tolerance_ev).vbm
    factor = settings.band_interpolation
    zero = bands.efermi if vbm is None else vbm
    own_zero = tetrahedron_efermi(bands, factor) if vbm is None else vbm
    spectra = (edos_of_bands(bands, *how) for how in ((zero, factor), (zero, 1), (own_zero, factor)))
    return Spectra(mesh, result.cpu_seconds, *spectra)


def compare(coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> dict[str, float]:
    """Errors of a spectrum against a finer one, and its Wasserstein distance in eV."""
    error = np.abs(coarse - fine)
    return {
        "mean_share": float(error.sum() / fine.sum()),
        "mean_states_per_ev": float(error.mean()),
        "largest_states_per_ev": float(error.max()),
        "integral_share": float(abs(coarse.sum() / fine.sum() - 1)),
        "wasserstein_ev": float(wasserstein_distances(fine[None], coarse[None], EDOS_GRID)[0]),
    }


def measure(name: str, structure: Structure, density: float) -> dict[str, object]:
    """Errors of one crystal at the given density against twice as much."""
    coarse, fine = (
        compute(structure, DftSettings(kpoint_density=factor * density, time_limit_s=_TIME_LIMIT_S))
        for factor in (1, 2)
    )
    row = {
        "crystal": name,
        "mesh": "x".join(map(str, coarse.mesh)),
        "finer_mesh": "x".join(map(str, fine.mesh)),
        "cpu_seconds": coarse.cpu_seconds,
        "finer_cpu_seconds": fine.cpu_seconds,
        "default": compare(coarse.interpolated, fine.interpolated),
        # The finest there is, the doubled and interpolated mesh, judges the spectra without interpolation too.
        "without_interpolation": compare(coarse.plain, fine.interpolated),
        "finer_without_interpolation": compare(fine.plain, fine.interpolated),
        "tetrahedron_efermi": compare(coarse.own_zero, fine.own_zero),
    }
    print(_line(row), flush=True)
    return row


def _line(row: dict[str, object]) -> str:
    cells: dict[str, dict[str, float]] = {key: row[key] for key in _WAYS}  # type: ignore[misc]
    default, own = cells["default"], cells["tetrahedron_efermi"]
    return (
        f"| {row['crystal']} | {row['mesh']} | {row['finer_mesh']} | {row['cpu_seconds']:.0f} | "
        f"{row['finer_cpu_seconds']:.0f} | {default['mean_share']:.0%} | {default['largest_states_per_ev']:.2f} | "
        f"{default['integral_share']:.1%} | {default['wasserstein_ev']:.3f} | "
        f"{cells['without_interpolation']['mean_share']:.0%} | {cells['finer_without_interpolation']['mean_share']:.0%} | "
        f"{own['mean_share']:.0%} | {own['wasserstein_ev']:.3f} |"
    )


def main() -> None:
    """Compute, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="write all figures into this JSON file")
    parser.add_argument("--density", type=float, default=DftSettings().kpoint_density)
    arguments = parser.parse_args()
    print(
        "| crystal | mesh | finer mesh | CPU s | finer CPU s | mean error | largest error, states/eV | integral | WD, eV | "
        "mean error, no interpolation | finer mesh, no interpolation | mean error, E_F of tetrahedra | WD, eV |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    rows = [measure(name, structure, arguments.density) for name, structure in crystals().items()]
    for key in _WAYS:
        shares = [row[key]["mean_share"] for row in rows]  # type: ignore[index]
        print(
            f"{key}: mean error {np.mean(shares):.0%} on average, {np.median(shares):.0%} median, {max(shares):.0%} worst"
        )
    if arguments.table:
        arguments.table.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
