"""Bands along the standard path, a projected density of states and transport by learned tight binding.

    python examples/bands_by_tight_binding.py [STRUCTURE_FILE] [--plot bands.png]

Without a file it is SrVO3, a metal with a gap in its valence band.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from pymatgen.core import Lattice, Structure
from pymatgen.electronic_structure.plotter import BSDOSPlotter

from mat2spec.prediction import load_predictor
from mat2spec.tight_binding.electronic_structure import ElectronicStructure
from mat2spec.tight_binding.predictor import TightBindingPredictor


def strontium_vanadate() -> Structure:
    """The cubic perovskite SrVO3."""
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.86), ["Sr", "V", "O"], sites)


def main() -> None:
    """Solve the bands, say what they are, plot them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="CIF, POSCAR or JSON")
    parser.add_argument("--plot", type=Path, help="Where a plot of the bands beside the density of states goes.")
    given = parser.parse_args()
    structure = Structure.from_file(given.file) if given.file else strontium_vanadate()

    predictor = load_predictor("tight-binding", device="cpu")
    assert isinstance(predictor, TightBindingPredictor)
    electrons = ElectronicStructure.of(predictor.model, structure)
    bands, densities = electrons.band_structure(), electrons.projected_dos()

    kind = "metal" if electrons.filling.is_metal else f"insulator with a gap of {electrons.filling.gap_ev:.2f} eV"
    print(f"{structure.composition.reduced_formula}: {kind}, {bands.nb_bands} bands at {len(bands.kpoints)} k-points")
    shares = densities.iloc[abs(densities.index).argmin()]
    for name, value in shares.sort_values(ascending=False).head(3).items():
        print(f"  {name}: {value:.2f} states/eV at the zero of energy")
    transport = electrons.transport()
    metal = transport.metallic()
    if metal is not None:
        print(f"  Seebeck coefficient at 300 K: {metal.mean_seebeck_uv_per_k:.0f} microvolt/K")
    for words, carriers in (("electrons", 1e19), ("holes", -1e19)):
        doped = transport.doped(carriers)
        if doped is not None:
            seebeck = doped.coefficients.mean_seebeck_uv_per_k
            print(f"  1e19 {words} per cm3: mass {doped.mass:.2f}, Seebeck coefficient {seebeck:.0f} microvolt/K")
    if given.plot:
        BSDOSPlotter(font="DejaVu Sans").get_plot(bands, electrons.dos())
        plt.savefig(given.plot)


if __name__ == "__main__":
    main()
