"""Spectral grids: the meaning of the numbers of a spectrum.

A grid defines bin centres, the unit and the zero of the abscissa and the quantity on the ordinate;
it is stored with every table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

GRID_METADATA_KEY = "spectral_grid"


@dataclass(frozen=True)
class SpectralGrid:
    """An equidistant grid of bins and the meaning of what is on it.

    Parameters
    ----------
    name
        Short name: ``"edos"`` or ``"phdos"``.
    first_center, last_center
        Centres of the first and last bin, in `unit`.
    size
        Number of bins.
    unit
        Unit of the abscissa: ``"eV"`` or ``"cm-1"``.
    zero
        Where the abscissa is zero, in words.
    quantity
        What a value of the spectrum is, with its unit.
    """

    name: str
    first_center: float
    last_center: float
    size: int
    unit: str
    zero: str
    quantity: str

    @cached_property
    def centers(self) -> NDArray[np.float64]:
        """Bin centres, shape (size,), in `unit`."""
        return np.linspace(self.first_center, self.last_center, self.size)

    @property
    def width(self) -> float:
        """Bin width in `unit`."""
        return (self.last_center - self.first_center) / (self.size - 1)

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Bin edges, shape (size + 1,), in `unit`."""
        half = self.width / 2
        return np.linspace(self.first_center - half, self.last_center + half, self.size + 1)

    def integrate(self, spectra: NDArray[np.floating]) -> NDArray[np.float64]:
        """Integral of spectra over the grid: sum of bins times the width, shape (...,)."""
        return np.asarray(spectra, dtype=np.float64).sum(axis=-1) * self.width

    def check(self, spectra: NDArray[np.floating]) -> None:
        """Refuse spectra that cannot lie on this grid.

        Raises
        ------
        ValueError
            If the last axis has another length than the grid.
        """
        if np.shape(spectra)[-1:] != (self.size,):
            raise ValueError(
                f"A spectrum on the grid '{self.name}' has {self.size} bins, but this one has shape "
                f"{np.shape(spectra)}; rebin it to the grid first."
            )

    def to_json(self) -> str:
        """Serialise the grid for the metadata of a table or a weights file."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SpectralGrid:
        """Rebuild a grid from `to_json`."""
        return cls(**json.loads(text))


EDOS_GRID = SpectralGrid(
    name="edos",
    first_center=-4.0,
    last_center=4.0,
    size=128,
    unit="eV",
    zero="VBM if the band gap is above 0.05 eV, else E_F",
    quantity="states/eV per cell, bin average, both spins summed",
)

PHDOS_GRID = SpectralGrid(
    name="phdos",
    first_center=0.0,
    last_center=1000.0,
    size=51,
    unit="cm-1",
    zero="zero frequency",
    quantity="states per cm-1 per cell, integral 3N",
)

GRIDS = {grid.name: grid for grid in (EDOS_GRID, PHDOS_GRID)}


def rebin_to_edges(
    cumulative_edges: NDArray[np.float64], density: NDArray[np.float64], new_edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average a histogram over new bins, conserving its integral.

    Parameters
    ----------
    cumulative_edges
        Edges of the given histogram, shape (m + 1,), increasing.
    density
        Value in each of its bins, shape (m,).
    new_edges
        Edges wanted, shape (n + 1,); outside the given histogram the density is zero.

    Returns
    -------
    NDArray
        Bin averages on the new edges, shape (n,).
    """
    integral = np.concatenate([[0.0], np.cumsum(density * np.diff(cumulative_edges))])
    at_new = np.interp(new_edges, cumulative_edges, integral)
    return np.diff(at_new) / np.diff(new_edges)


def edges_of_samples(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of the interval that each sample stands for: half-way to its neighbours, shape (m + 1,)."""
    middles = (positions[1:] + positions[:-1]) / 2
    return np.concatenate([[2 * positions[0] - middles[0]], middles, [2 * positions[-1] - middles[-1]]])
