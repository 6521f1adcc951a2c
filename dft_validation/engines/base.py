"""The interface of an engine. A new engine is a class with these members and a line in the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dft_validation.bands.mesh import MeshBands, Projections
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell


@dataclass(frozen=True)
class EngineResult:
    """Bands of one calculation and their cost.

    Parameters
    ----------
    bands
        Band energies of the given cell.
    engine_version
        Version of the engine that computed them.
    cpu_seconds, wall_seconds, peak_memory_mib
        Cost; memory is the peak resident set size.
    notes
        Sentences for the document.
    magnetization
        Moment of the cell in Bohr magnetons, 0 without spin polarisation.
    u_values_ev
        Hubbard U that was applied, by element, in eV.
    projections
        Projections of the bands on elements and angular momenta, if the engine gives them.
    """

    bands: MeshBands
    engine_version: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mib: float
    notes: list[str] = field(default_factory=list)
    magnetization: float = 0.0
    u_values_ev: dict[str, float] = field(default_factory=dict)
    projections: Projections | None = None


class Engine(Protocol):
    """A program that computes bands on a k-mesh."""

    @property
    def name(self) -> str:
        """Name in settings and tables."""
        ...

    def unavailable_reason(self) -> str:
        """Empty if the engine can run here, else a sentence that says what to do."""
        ...

    def version(self) -> str:
        """Version, part of the key under which results are stored."""
        ...

    def find_unsupported(self, atomic_numbers: list[int]) -> list[str]:
        """Symbols of the elements that the engine cannot compute."""
        ...

    def count_electrons(self, atomic_numbers: list[int]) -> int:
        """Valence electrons that the engine treats; determines the number of bands before the calculation."""
        ...

    def calculate(
        self, cell: Cell, mesh: tuple[int, int, int], empty_bands: int, settings: DftSettings, folder: Path
    ) -> EngineResult:
        """Self-consistent bands on the mesh.

        Parameters
        ----------
        cell
            The crystal exactly as it will be computed.
        mesh
            Gamma-centred k-mesh.
        empty_bands
            Bands beyond half the electrons.
        settings
            Level of theory, tolerances, limits.
        folder
            An empty folder for the files of the calculation.

        Raises
        ------
        EngineError
            If there is no usable result.
        """
        ...
