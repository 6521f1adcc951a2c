"""A computed electronic density of states with the metadata needed for comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
from monty.json import MSONable
from numpy.typing import NDArray
from pymatgen.electronic_structure.core import Spin

from dft_validation.bands.mesh import FINE_EDOS_GRID
from mat2spec.spectra.grids import EDOS_GRID, SpectralGrid, rebin_to_edges

if TYPE_CHECKING:
    from pymatgen.electronic_structure.dos import Dos

# pymatgen's numbers of spin up and down.
_SPINS = (1, -1)
# Of the fine density and the projections, in states/eV.
_STORED_DECIMALS = 5


@dataclass
class EdosDocument(MSONable):
    """An electronic density of states of one crystal, and how it was computed.

    Parameters
    ----------
    material_id, formula, n_sites
        Which crystal; the spectrum is per its cell of `n_sites` atoms.
    edos
        Bin averages on `EDOS_GRID`, states/eV per cell, both spins summed, shape (128,).
    efermi
        Fermi energy in eV, zero of the engine.
    energy_zero_ev
        Energy of the zero of the grid on the same scale: the VBM of a gapped crystal, E_F of a metal.
    band_gap
        Band gap in eV, 0 for a metal.
    is_metal
        Whether there is no band gap.
    covered_to_ev
        Energy above the zero up to which all bands are included, in eV.
    n_electrons
        Valence electrons of the computed cell.
    engine, engine_version
        The engine that computed it.
    functional, spin, u_values
        Level of theory; `u_values` holds Hubbard U in eV by element.
    kpoints
        Points per direction of the Gamma-centred mesh.
    n_irreducible_kpoints, n_bands
        Size of the calculation.
    cpu_seconds, wall_seconds, peak_memory_mib
        Its cost.
    settings_hash
        Hash of the settings that change a result.
    computed_n_sites
        Atoms of the cell that was computed: the primitive one, unless `is_doubled`.
    computed_volume_a3
        Its volume in cubic Angstrom.
    notes
        Remarks that a user of the spectrum must know.
    versions
        Versions of the packages involved.
    settings
        The settings behind the hash.
    edos_by_spin
        The same bins for spin up and down, shape (2, 128); None without spin polarisation.
    magnetization
        Moment per cell of `n_sites` atoms in Bohr magnetons, 0 without spin polarisation.
    vbm, cbm
        Band edges in eV, zero of the engine; None for a metal.
    fine_edos
        Total density of each spin channel on `dft_validation.bands.mesh.FINE_EDOS_GRID`, states/eV per cell, shape
        (n_spins, 700); None in documents of version 0.1. Bins above `covered_to_ev` lack bands.
    projections
        Part of `edos` on the orbitals of an element (``"Sr-d"``), states/eV per cell, shape (128,) each.
    """

    material_id: str
    formula: str
    n_sites: int
    edos: NDArray[np.float64]
    efermi: float
    energy_zero_ev: float
    band_gap: float
    is_metal: bool
    covered_to_ev: float
    n_electrons: float
    engine: str
    engine_version: str
    functional: str
    spin: str
    u_values: dict[str, float]
    kpoints: tuple[int, int, int]
    n_irreducible_kpoints: int
    n_bands: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mib: float
    settings_hash: str
    computed_n_sites: int
    computed_volume_a3: float
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    edos_by_spin: NDArray[np.float64] | None = None
    magnetization: float = 0.0
    vbm: float | None = None
    cbm: float | None = None
    fine_edos: NDArray[np.float64] | None = None
    projections: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.edos = np.asarray(self.edos, dtype=np.float64)
        self._check(self.edos)
        if self.edos_by_spin is not None:
            self.edos_by_spin = np.asarray(self.edos_by_spin, dtype=np.float64)
            if self.edos_by_spin.shape[0] != len(_SPINS):
                raise ValueError(f"The spin channels of {self.material_id} must be two rows, up and down.")
            self._check(self.edos_by_spin)
        if self.fine_edos is not None:
            self.fine_edos = np.asarray(self.fine_edos, dtype=np.float64)
            FINE_EDOS_GRID.check(self.fine_edos)
        self.projections = {name: np.asarray(values, dtype=np.float64) for name, values in self.projections.items()}
        n1, n2, n3 = (int(n) for n in self.kpoints)
        self.kpoints = (n1, n2, n3)

    def _check(self, spectra: NDArray[np.float64]) -> None:
        EDOS_GRID.check(spectra)
        if not np.isfinite(spectra).all() or spectra.min() < 0:
            raise ValueError(f"The density of states of {self.material_id} holds negative or non-finite values.")

    @property
    def is_doubled(self) -> bool:
        """Whether a doubled cell was computed, not the primitive one."""
        return self.settings.get("cell") == "doubled"

    @property
    def is_covered(self) -> NDArray[np.bool_]:
        """Mask of the bins in which all bands are included, shape (128,): all of them for the embedded engines."""
        return EDOS_GRID.edges[1:] <= self.covered_to_ev

    @property
    def covered_edos(self) -> NDArray[np.float64]:
        """The spectrum with NaN in the bins in which bands are missing, shape (128,)."""
        return np.where(self.is_covered, self.edos, nan)

    @property
    def projected_share(self) -> float:
        """Sum of the projections over the sum of the spectrum, i.e. the share projected; NaN without projections."""
        total = float(self.edos.sum())
        return (
            float(sum(part.sum() for part in self.projections.values())) / total if self.projections and total else nan
        )

    @property
    def dos(self) -> Dos:
        """The spectrum as pymatgen's density of states, spin-resolved if the calculation was."""
        return self.to_dos()

    @property
    def grid(self) -> SpectralGrid:
        """Bins of the spectrum."""
        return EDOS_GRID

    def as_dict(self) -> dict[str, Any]:
        """JSON values, with the class named as monty and jobflow expect."""
        values: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["edos"] = self.edos.tolist()
        values["edos_by_spin"] = None if self.edos_by_spin is None else self.edos_by_spin.tolist()
        values["kpoints"] = list(self.kpoints)
        values["fine_edos"] = None if self.fine_edos is None else self.fine_edos.round(_STORED_DECIMALS).tolist()
        values["projections"] = {name: part.round(_STORED_DECIMALS).tolist() for name, part in self.projections.items()}
        return {"@module": type(self).__module__, "@class": type(self).__name__, **values}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EdosDocument:
        """Rebuild from `as_dict`."""
        return cls(**{name: value for name, value in values.items() if not name.startswith("@")})

    def to_dos(self) -> Dos:
        """The spectrum as pymatgen's density of states at absolute energies.

        Without spin polarisation the total density is under `Spin.up`, as in pymatgen for VASP.
        """
        channels = self.edos[None] if self.edos_by_spin is None else self.edos_by_spin
        # With half of scipy behind it.
        from pymatgen.electronic_structure.dos import Dos

        densities = {Spin(spin): channel for spin, channel in zip(_SPINS, channels, strict=False)}
        return Dos(self.efermi, EDOS_GRID.centers + self.energy_zero_ev, densities)

    @classmethod
    def from_dos(cls, dos: Dos, *, energy_zero_ev: float | None = None, **provenance: Any) -> EdosDocument:
        """Document of a pymatgen density of states, e.g. of VASP or the Materials Project.

        Parameters
        ----------
        dos
            Absolute energies in eV, states/eV per cell.
        energy_zero_ev
            Energy of the zero of the grid; by default the VBM if `band_gap` is above zero, else E_F.
        **provenance
            The other fields of the document; `efermi` and `edos` come from `dos`.
        """
        band_gap = float(provenance.get("band_gap", 0.0))
        if energy_zero_ev is None:
            energy_zero_ev = float(dos.get_cbm_vbm()[1]) if band_gap > 0 else float(dos.efermi)
        return cls(
            edos=edos_of_dos(dos, energy_zero_ev),
            efermi=float(dos.efermi),
            energy_zero_ev=energy_zero_ev,
            **{"band_gap": band_gap, "is_metal": band_gap == 0.0, **provenance},
        )


def edos_of_dos(dos: Dos, energy_zero_ev: float, grid: SpectralGrid = EDOS_GRID) -> NDArray[np.float64]:
    """Bin averages of a pymatgen density of states, both spins summed, shape (grid.size,).

    Each sampled value represents the interval half-way to its neighbours, so states are conserved
    and a density that is already on the grid is unchanged.

    Raises
    ------
    ValueError
        If the samples do not cover the whole grid or are not in order.
    """
    energies = np.asarray(dos.energies, dtype=np.float64) - energy_zero_ev
    if len(energies) < 2 or (np.diff(energies) <= 0).any():
        raise ValueError("The energies of a density of states must increase; sort them first.")
    middles = (energies[1:] + energies[:-1]) / 2
    edges = np.concatenate([[2 * energies[0] - middles[0]], middles, [2 * energies[-1] - middles[-1]]])
    slack = 1e-6 * grid.width
    if edges[-1] < grid.edges[-1] - slack:
        raise ValueError(
            f"The density of states ends at {edges[-1]:.2f} eV, the grid at {grid.edges[-1]:.2f} eV; compute more bands."
        )
    density = np.sum([np.asarray(values, dtype=np.float64) for values in dos.densities.values()], axis=0)
    return np.maximum(rebin_to_edges(edges, density, grid.edges), 0.0)
