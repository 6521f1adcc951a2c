"""Print how far two engines agree on the same crystals, meshes and tetrahedra: all electrons (Elk) against PAW (GPAW).

    python benchmarks/elk_and_gpaw.py [Si Al NaCl SrVO3]

Needs both engines (`mat2spec engines`). About two minutes on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from k_convergence import compare, crystals
from pymatgen.core import Structure

from dft_validation.jobs.calculation import calculate_edos
from dft_validation.results.document import EdosDocument
from dft_validation.settings import DftSettings
from mat2spec.spectra.grids import EDOS_GRID

# k-points times atoms: 5x5x5, 8x8x8, 4x4x4 and 4x4x4 points.
DENSITIES = {"Si": 250, "Al": 500, "NaCl": 128, "SrVO3": 320}
_TIME_LIMIT_S = 3600.0


def compute(name: str, structure: Structure, engine: str, cache_dir: Path) -> EdosDocument:
    """Spectrum of one crystal by one engine.

    Raises
    ------
    SystemExit
        If the engine has no result.
    """
    settings = DftSettings(
        engine=engine, kpoint_density=DENSITIES[name], cache_dir=cache_dir, time_limit_s=_TIME_LIMIT_S
    )
    outcome = calculate_edos(structure, name, settings)
    if not isinstance(outcome, EdosDocument):
        raise SystemExit(f"{name} by {engine}: {outcome.reason}")
    return outcome


def line(name: str, gpaw: EdosDocument, elk: EdosDocument) -> str:
    """One row of the table."""
    occupied = EDOS_GRID.centers < 0
    all_bins, below = compare(gpaw.edos, elk.edos), np.abs(gpaw.edos - elk.edos)[occupied].sum()
    return (
        f"| {name} | {'x'.join(map(str, gpaw.kpoints))} | {gpaw.band_gap:.2f} | {elk.band_gap:.2f} | "
        f"{below / elk.edos[occupied].sum():.1%} | {all_bins['mean_share']:.1%} | {all_bins['wasserstein_ev']:.3f} | "
        f"{gpaw.cpu_seconds:.0f} | {elk.cpu_seconds:.0f} |"
    )


def main() -> None:
    """Compute the crystals and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*DENSITIES, []], metavar="CRYSTAL", help="default: all")
    names, known = parser.parse_args().names, crystals()
    print(
        "| crystal | mesh | gap GPAW, eV | gap Elk, eV | error below E_F | error, all bins | WD, eV | CPU s GPAW | Elk |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or DENSITIES:
            # Per primitive cell, as the states of a table are read.
            primitive = known[name].get_primitive_structure()
            gpaw, elk = (compute(name, primitive, engine, Path(folder)) for engine in ("gpaw", "elk"))
            print(line(name, gpaw, elk), flush=True)


if __name__ == "__main__":
    main()
