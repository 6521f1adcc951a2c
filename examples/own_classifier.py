"""A classifier of your own: how deep a valley of the density of states a metal has at E_F.

    python examples/own_classifier.py [STRUCTURE_FILE ...]

In a screen the same function is named by a setting, and its columns are searched like all others:

    mat2spec screen --set 'classify.functions=[examples/own_classifier.py:pseudogap]' --where "is_metal and valley_depth > 0.7"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.prediction import load_predictor
from screening.classify.classes import Spectra, classify
from screening.classify.materials import Materials

# The valley is compared with what lies this far from E_F at most, in eV.
SHOULDER_EV = 1.5


def pseudogap(spectra: Spectra) -> dict[str, NDArray[np.float64]]:
    """How deep the valley at E_F is: one minus the DOS at E_F over the lower of its two shoulders; negative on a peak."""
    energies = spectra.grid.centers
    below = spectra.values[:, (energies < 0) & (energies > -SHOULDER_EV)].max(axis=1)
    above = spectra.values[:, (energies > 0) & (energies < SHOULDER_EV)].max(axis=1)
    at_efermi = spectra.classes["dos_at_efermi_states_per_ev_per_atom"].to_numpy(dtype=np.float64)
    return {"valley_depth": 1 - at_efermi / np.maximum(np.minimum(below, above), 1e-6)}


def some_metals() -> list[Structure]:
    """Aluminium and tungsten: one without, one with a valley near E_F."""
    return [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]]),
        Structure.from_spacegroup("Im-3m", Lattice.cubic(3.17), ["W"], [[0, 0, 0]]),
    ]


def main() -> None:
    """Predict, classify, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="CIF, POSCAR or JSON")
    given = parser.parse_args()
    structures = [Structure.from_file(path) for path in given.files] or some_metals()

    crystals = Crystals.from_structures(structures, [structure.composition.reduced_formula for structure in structures])
    prediction = load_predictor("mat2spec", device="cpu").predict(crystals)
    table = classify(
        prediction.spectra, Materials.of_crystals(crystals), uncertainty=prediction.uncertainty, functions=[pseudogap]
    )
    for name, row in zip(crystals.material_ids, table.to_dict("records"), strict=True):
        print(
            f"{name}: {row['electronic_class']}, valley {row['valley_depth']:.2f}, Seebeck proxy "
            f"{row['seebeck_300k_uv_per_k']:.1f} microvolt/K (sign right with {row['seebeck_sign_confidence']:.2f})"
        )


if __name__ == "__main__":
    main()
