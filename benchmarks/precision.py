"""How exact the fast paths of the accurate models are: `OMP_NUM_THREADS=1 python -m benchmarks.precision DATA [--crystals 200]`.

Random crystals of the Materials Project with up to 60 sites in the primitive cell. Tight binding as it predicts (real
matrices where symmetry allows, single precision) beside complex matrices of all k-points in double precision; SiteDOS with
CHGNet as it is evaluated here beside the packaged network in double precision. The figure is the largest difference of two
spectra over the maximum of the spectrum. Five minutes.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from chgnet.model import CHGNet
from numpy.typing import NDArray
from pymatgen.core import Structure

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.crystals.primitive_cell import PrimitiveCell
from mat2spec.descriptors import sites
from mat2spec.descriptors.chgnet import load_chgnet
from mat2spec.descriptors.kinds import CHGNET, Descriptors
from mat2spec.descriptors.sevennet import site_scalars
from mat2spec.prediction import load_predictor
from mat2spec.tight_binding.model import predicted_spectrum
from mat2spec.tight_binding.predictor import TightBindingPredictor
from mat2spec.tight_binding.problem import prepare
from screening.settings import SourceKind, SourceSettings
from screening.sources.opening import open_source

LARGEST_CELL, TARGET = 60, 1e-5
Floats = NDArray[np.float64]


def draw(data: Path, count: int) -> Crystals:
    """Random crystals that tight binding solves."""
    source = open_source(SourceSettings(kind=SourceKind.PARQUET, path=data / "mp_structures.parquet"))
    ids = source.properties()["material_id"].to_numpy()
    crystals = source.crystals(np.random.default_rng(1).choice(ids, 2 * count, replace=False).tolist())
    crystals = crystals.take(np.flatnonzero(CellSizes.of_crystals(crystals).n_primitive <= LARGEST_CELL))
    problems = load_predictor("tight-binding").problems_of(crystals)
    return crystals.take(np.flatnonzero([problem is None for problem in problems])[:count])


@torch.no_grad()
def tight_binding_differences(crystals: Crystals) -> Floats:
    """Of single from double precision, shape (n,)."""
    predictor = load_predictor("tight-binding")
    assert isinstance(predictor, TightBindingPredictor)
    model, fast = predictor.model, predictor.preparation
    plain = replace(fast, dtype=torch.complex128, equal_orbits=False)
    cells = [PrimitiveCell.of_crystal(crystals, index) for index in range(len(crystals))]
    differences = []
    for cell, descriptors in zip(cells, site_scalars(cells, model.settings.descriptors), strict=True):
        means = [
            predicted_spectrum(model(prepare(cell, settings), torch.from_numpy(descriptors)), model.grid)
            for settings in (fast, plain)
        ]
        differences.append(_difference(*((mean.shape * mean.total).double().numpy() for mean in means)))
    return np.array(differences)


@cache
def exact_chgnet() -> CHGNet:
    """The packaged network in double precision; without its energies of elements, which are in single."""
    model = copy.deepcopy(load_chgnet(CHGNET.removeprefix("chgnet-"))).double()
    model.composition_model = None
    return model


def exact_vectors(cell: PrimitiveCell) -> Floats:
    """What the packaged network says of the atoms after every convolution, shape (n_atoms, n_convolutions x width)."""
    model, outputs = exact_chgnet(), []
    hooks = [layer.register_forward_hook(lambda *given: outputs.append(given[2])) for layer in model.atom_conv_layers]
    structure = Structure(cell.lattice, cell.atomic_numbers, cell.frac_coords)
    in_graphs, in_model = (
        patch(f"chgnet.{name}.TORCH_DTYPE", torch.float64) for name in ("graph.converter", "model.model")
    )
    with in_graphs, in_model, torch.inference_mode():
        model([model.graph_converter(structure)], task="e")
    for hook in hooks:
        hook.remove()
    return np.asarray(torch.cat(outputs, dim=1).numpy())


def _exactly_described(crystals: Crystals, usable: NDArray[np.bool_], *_: object) -> sites.Described:
    values = np.zeros((len(crystals.atomic_numbers), Descriptors.CHGNET.width), dtype=np.float32)
    for index in np.flatnonzero(usable).tolist():
        given = crystals.cell(index)
        cell, site_of = PrimitiveCell.with_sites(given.lattice, given.frac_coords, given.atomic_numbers)
        values[crystals.sites(index)] = exact_vectors(cell)[site_of]
    return values, [None] * len(crystals)


def sitedos_differences(crystals: Crystals) -> Floats:
    """Of CHGNet as it is evaluated here from the package's in double precision, shape (n,); of what it can describe."""
    predictor = load_predictor("sitedos")
    fast = predictor.predict(crystals)
    usable = [index for index, status in enumerate(fast.status) if status == "ok"]
    with patch.object(sites, "cached_site_vectors", _exactly_described):
        exact = predictor.predict(crystals.take(np.array(usable)))
    return np.array([_difference(fast.spectra[index], exact.spectra[row]) for row, index in enumerate(usable)])


def _difference(fast: NDArray[np.floating], exact: NDArray[np.floating]) -> float:
    return float(np.abs(fast - exact).max() / exact.max())


def main() -> None:
    """Print median, largest and how many are above the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--crystals", type=int, default=200)
    given = parser.parse_args()
    torch.set_flush_denormal(True)
    crystals = draw(given.data, given.crystals)
    for name, find in (("tight-binding", tight_binding_differences), ("sitedos", sitedos_differences)):
        found = find(crystals)
        above = int((found > TARGET).sum())
        print(
            f"{name}: {len(found)} crystals, median {np.median(found):.1e}, largest {found.max():.1e}, {above} above {TARGET:g}"
        )


if __name__ == "__main__":
    main()
