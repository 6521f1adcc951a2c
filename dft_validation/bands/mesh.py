"""Band energies on a k-mesh, as returned by any engine, and quantities derived from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dft_validation.bands.tetrahedra import bin_average_dos, fermi_energy
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid

# The electron number of a neutral cell is an integer up to rounding.
_INTEGER_TOLERANCE = 1e-6
# The total density of states is also stored on a finer and wider grid, for other windows and zeros of energy.
FINE_EDOS_GRID = SpectralGrid(
    name="edos_fine",
    first_center=-7.99,
    last_center=5.99,
    size=700,
    unit=EDOS_GRID.unit,
    zero=EDOS_GRID.zero,
    quantity=EDOS_GRID.quantity,
)
# Range around a bin in which bands contribute to its projections, in eV (standard deviation of a Gaussian).
_PROJECTION_WIDTH_EV = 0.1
_NEGLIGIBLE_DENSITY = 1e-12


@dataclass(frozen=True)
class MeshBands:
    """Band energies on the irreducible points of a uniform k-mesh.

    Parameters
    ----------
    energies_ev
        Band energies in eV, zero of the engine, shape (n_spins, n_irreducible, n_bands).
    irreducible_of_kpoint
        For each point of the full mesh (C order) its irreducible point, shape (n1 * n2 * n3,).
    mesh
        Points per direction of the full mesh.
    lattice
        Lattice vectors as rows, in Angstrom, shape (3, 3).
    efermi
        Fermi energy in eV, same zero.
    n_electrons
        Valence electrons of the cell.
    """

    energies_ev: NDArray[np.float64]
    irreducible_of_kpoint: NDArray[np.int64]
    mesh: tuple[int, int, int]
    lattice: NDArray[np.float64]
    efermi: float
    n_electrons: float

    def __post_init__(self) -> None:
        if self.energies_ev.ndim != 3:
            raise ValueError(
                f"Band energies have shape {self.energies_ev.shape}; it must be (n_spins, n_irreducible, n_bands)."
            )
        if not np.isfinite(self.energies_ev).all() or not np.isfinite(self.efermi):
            raise ValueError("Some band energies or the Fermi energy are not finite numbers.")
        if len(self.irreducible_of_kpoint) != np.prod(self.mesh):
            raise ValueError(
                f"The k-mesh {self.mesh} has {np.prod(self.mesh)} points, but {len(self.irreducible_of_kpoint)} are mapped."
            )
        points = self.irreducible_of_kpoint
        if points.min() < 0 or points.max() >= self.energies_ev.shape[1]:
            raise ValueError("The k-mesh refers to irreducible points without energies.")

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return self.energies_ev.shape[2]

    def full_mesh(self, spin: int) -> NDArray[np.float64]:
        """Energies of one spin channel on the full mesh, shape (n1, n2, n3, n_bands), in eV."""
        return self.energies_ev[spin][self.irreducible_of_kpoint].reshape(*self.mesh, self.n_bands)

    def without_last(self, n_dropped: int) -> MeshBands:
        """The same without the uppermost bands, which an iterative solver converges last."""
        kept = max(1, self.n_bands - n_dropped)
        return MeshBands(
            self.energies_ev[:, :, :kept],
            self.irreducible_of_kpoint,
            self.mesh,
            self.lattice,
            self.efermi,
            self.n_electrons,
        )


@dataclass(frozen=True)
class Projections:
    """Weights of the bands on the orbitals of each element.

    Parameters
    ----------
    names
        Element and angular momentum, e.g. ``"Sr-d"``, shape (n_channels,).
    weights
        Weights, summed over the atoms of an element, shape (n_spins, n_irreducible, n_bands, n_channels). As
        projectors overlap, the sum over the channels is close to one but not exactly one.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class BandEdges:
    """Band edges around the Fermi energy, in eV.

    Parameters
    ----------
    vbm, cbm
        Valence-band maximum and conduction-band minimum, zero of the engine; None for a metal.
    band_gap
        Difference of the two, 0 for a metal.
    """

    vbm: float | None
    cbm: float | None
    band_gap: float

    @property
    def is_metal(self) -> bool:
        """Whether there is no gap."""
        return self.vbm is None


def find_band_edges(bands: MeshBands, gap_tolerance_ev: float) -> BandEdges:
    """Band gap on the mesh points, between the filled bands and the others.

    Parameters
    ----------
    bands
        Bands with their Fermi energy.
    gap_tolerance_ev
        Gaps up to this, in eV, count as zero: they are within the error of the mesh.
    """
    edges = _edges_by_filling(bands)
    if edges is None or edges[1] - edges[0] <= gap_tolerance_ev:
        return BandEdges(None, None, 0.0)
    return BandEdges(edges[0], edges[1], edges[1] - edges[0])


def _edges_by_filling(bands: MeshBands) -> tuple[float, float] | None:
    """VBM and CBM if the electrons fill a whole number of bands, wherever the program has put E_F.

    Two channels may hold different numbers of electrons: of all divisions the one with the widest gap counts. At most one
    has any, as bands that are separated by one energy are filled in one way only.
    """
    n_spins = len(bands.energies_ev)
    n_filled = round(bands.n_electrons * n_spins / 2)
    if n_filled <= 0 or abs(bands.n_electrons - 2 * n_filled / n_spins) > _INTEGER_TOLERANCE:
        return None
    tops, bottoms = bands.energies_ev.max(axis=1), bands.energies_ev.min(axis=1)
    divisions = [(n_filled,)] if n_spins == 1 else [(up, n_filled - up) for up in range(n_filled + 1)]
    edges = [_edges(tops, bottoms, division) for division in divisions if max(division) < bands.n_bands]
    return max(edges, key=lambda pair: pair[1] - pair[0], default=None)


def _edges(tops: NDArray[np.float64], bottoms: NDArray[np.float64], filled: tuple[int, ...]) -> tuple[float, float]:
    """Highest energy of the lowest `filled` bands of each channel, and lowest of the others."""
    vbm = max(float(top[:n].max()) for top, n in zip(tops, filled, strict=True) if n > 0)
    return vbm, min(float(bottom[n:].min()) for bottom, n in zip(bottoms, filled, strict=True))


def tetrahedron_efermi(bands: MeshBands, interpolation: int) -> float:
    """Fermi energy of a metal at which the interpolated bands hold its electrons, zero of the engine, in eV.

    Raises
    ------
    ValueError
        If there is no such energy near the engine's Fermi energy.
    """
    n_spins = bands.energies_ev.shape[0]
    channels = [bands.full_mesh(spin) for spin in range(n_spins)]
    n_states = bands.n_electrons * n_spins / 2
    return fermi_energy(channels, bands.lattice, n_states, bands.efermi, interpolation)


def covered_to_ev(bands: MeshBands, zero_ev: float) -> float:
    """Energy above `zero_ev` up to which all bands are included: the lowest energy of the last band, in eV."""
    return float(bands.energies_ev[:, :, -1].min() - zero_ev)


def edos_of_spins(
    bands: MeshBands, zero_ev: float, interpolation: int, grid: SpectralGrid = EDOS_GRID
) -> NDArray[np.float64]:
    """Bin-averaged density of states of each spin channel, states/eV per cell, shape (n_spins, grid.size).

    Parameters
    ----------
    bands
        Band energies of one or two spin channels; a single channel holds the electrons of both spins.
    zero_ev
        Energy that becomes the zero of the grid, in eV.
    interpolation
        Factor per direction by which the bands are refined.
    grid
        Bins, in eV.
    """
    n_spins = bands.energies_ev.shape[0]
    channels = [
        bin_average_dos(bands.full_mesh(spin) - zero_ev, bands.lattice, grid.edges, interpolation)
        for spin in range(n_spins)
    ]
    return np.array(channels) * (2.0 / n_spins)


def edos_of_bands(
    bands: MeshBands, zero_ev: float, interpolation: int, grid: SpectralGrid = EDOS_GRID
) -> NDArray[np.float64]:
    """Sum over the spin channels of `edos_of_spins`, shape (grid.size,)."""
    return np.sum(edos_of_spins(bands, zero_ev, interpolation, grid), axis=0)


def project_edos(
    bands: MeshBands,
    projections: Projections,
    zero_ev: float,
    edos: NDArray[np.floating],
    grid: SpectralGrid = EDOS_GRID,
) -> NDArray[np.float64]:
    """Projections of a density of states on the orbitals of each element, states/eV, shape (n_channels, grid.size).

    Each bin is divided in proportion to the weights of the bands around it (Gaussian weights on the mesh points).

    Parameters
    ----------
    bands
        Bands matching the weights of the projections.
    projections
        Weights of the bands.
    zero_ev
        Energy of the zero of the grid, in eV.
    edos
        Density of states, both spins summed, states/eV, shape (grid.size,).
    grid
        Bins.
    """
    n_spins, n_kpoints, n_bands = bands.energies_ev.shape
    of_kpoint = np.bincount(bands.irreducible_of_kpoint, minlength=n_kpoints)
    weights = np.broadcast_to(of_kpoint[None, :, None], (n_spins, n_kpoints, n_bands)).ravel()
    energies = bands.energies_ev.ravel() - zero_ev
    near = (energies > grid.edges[0] - 1.0) & (energies < grid.edges[-1] + 1.0)
    distance = (grid.centers[:, None] - energies[near]) / _PROJECTION_WIDTH_EV
    kernel = np.exp(-0.5 * distance**2) * weights[near]
    shares = projections.weights[:, :, :n_bands].reshape(-1, len(projections.names))[near]
    density = kernel.sum(axis=1)
    mixed = np.divide(
        (kernel @ shares).T, density, out=np.zeros((shares.shape[1], grid.size)), where=density > _NEGLIGIBLE_DENSITY
    )
    return mixed * np.asarray(edos, dtype=np.float64)
