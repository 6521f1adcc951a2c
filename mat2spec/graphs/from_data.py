"""Crystals given as PyTorch Geometric data, e.g. from another program's data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from mat2spec.crystals.arrays import Crystals

NUMBERS = ("z", "atomic_numbers")
POSITIONS = ("pos", "positions")
FRACTIONAL = ("frac_coords",)
CELL = ("cell", "lattice")
IDENTIFIERS = ("material_id", "id")

_SMALLEST_VOLUME_A3 = 1e-6


CrystalsOrData: TypeAlias = Crystals | Data | Sequence[Data]


def as_crystals(given: CrystalsOrData) -> Crystals:
    """Crystals unchanged, or those from `crystals_from_data`."""
    return given if isinstance(given, Crystals) else crystals_from_data(given)


def crystals_from_data(data: Data | Sequence[Data]) -> Crystals:
    """Crystals of a `Data`, a `Batch` or several `Data` of PyTorch Geometric.

    Parameters
    ----------
    data
        Each crystal has atomic numbers `z` (or `atomic_numbers`), shape (n_atoms,); Cartesian coordinates `pos` (or
        `positions`) in Angstrom, or fractional ones `frac_coords`, shape (n_atoms, 3); lattice vectors as rows `cell`
        (or `lattice`) in Angstrom, shape (3, 3). It may have a name, `material_id` (or `id`). Anything else is ignored:
        edges are searched again in the way the models were trained.

    Raises
    ------
    ValueError
        If an attribute is missing or has another shape, or a crystal is not periodic in three dimensions.

    Examples
    --------
    >>> import torch
    >>> iron = Data(z=torch.tensor([26]), pos=torch.zeros(1, 3), cell=1.43 * (torch.ones(3, 3) - 2 * torch.eye(3)))
    >>> crystals_from_data([iron, iron]).material_ids.tolist()
    ['crystal-0', 'crystal-1']
    """
    parts = [_crystals_of(part) for part in ([data] if isinstance(data, Data) else data)]
    if not parts:
        return Crystals.from_lists([], [], [], [])
    crystals = Crystals.concatenate([part for part, _ in parts])
    if not all(named for _, named in parts):
        crystals.material_ids[:] = [f"crystal-{index}" for index in range(len(crystals))]
    return crystals


def _crystals_of(data: Data) -> tuple[Crystals, bool]:
    """Crystals of one `Data` or `Batch`, and whether they have their own names."""
    numbers = _array(data, NUMBERS, "atomic numbers").astype(np.int64).reshape(-1)
    counts = _atoms_of_each(data, len(numbers))
    lattices = _shaped(_array(data, CELL, "lattice vectors"), (len(counts), 3, 3), "lattice vectors")
    _check_periodic(data)
    names = _names(data, len(counts))
    crystals = Crystals(
        material_ids=np.array(names or [""] * len(counts), dtype=object),
        atomic_numbers=numbers,
        frac_coords=_fractional(data, np.repeat(lattices, counts, axis=0)),
        lattices=lattices,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    return crystals, names is not None


def _atoms_of_each(data: Data, n_atoms: int) -> NDArray[np.int64]:
    ptr = data.get("ptr")
    if isinstance(ptr, Tensor):
        return np.diff(ptr.cpu().numpy()).astype(np.int64)
    batch = data.get("batch")
    if batch is None:
        return np.array([n_atoms], dtype=np.int64)
    crystal = batch.cpu().numpy()
    if (np.diff(crystal) < 0).any():
        raise ValueError("The atoms are not ordered by crystal; sort them by 'batch'.")
    return np.bincount(crystal).astype(np.int64)


def _fractional(data: Data, lattices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional coordinates, shape (n_atoms, 3); zero if the lattice has no volume, which is reported later."""
    if any(name in data for name in FRACTIONAL):
        return _shaped(_array(data, FRACTIONAL, "fractional coordinates"), (len(lattices), 3), "fractional coordinates")
    positions = _shaped(
        _array(data, POSITIONS, "coordinates, Cartesian and in Angstrom"), (len(lattices), 3), "coordinates"
    )
    has_volume = np.abs(np.linalg.det(lattices)) > _SMALLEST_VOLUME_A3
    usable = np.where(has_volume[:, None, None], lattices, np.eye(3))
    fractional = np.linalg.solve(usable.transpose(0, 2, 1), positions[:, :, None])[:, :, 0]
    return np.where(has_volume[:, None], fractional, 0.0)


def _array(data: Data, names: Sequence[str], what: str) -> NDArray:
    for name in names:
        if name in data:
            value = data[name]
            return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    found = ", ".join(data.keys()) or "nothing"
    raise ValueError(f"The data have no {what}; name them '{names[0]}'. They have {found}.")


def _shaped(values: NDArray, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    if values.size != np.prod(shape):
        raise ValueError(f"The {what} have the shape {values.shape} instead of {shape}.")
    return values.astype(np.float64).reshape(shape)


def _check_periodic(data: Data) -> None:
    if "pbc" in data and not np.all(_array(data, ["pbc"], "periodicity")):
        raise ValueError("The data are not periodic in all three directions (pbc); only crystals can be predicted.")


def _names(data: Data, n_crystals: int) -> list[str] | None:
    found = next((data[name] for name in IDENTIFIERS if name in data), None)
    if found is None:
        return None
    names = [found] if isinstance(found, str) else [str(name) for name in found]
    if len(names) != n_crystals:
        raise ValueError(f"There are {len(names)} names for {n_crystals} crystals.")
    return names
