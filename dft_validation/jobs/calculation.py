"""From a crystal to its document: prepare the cell, run the engine, integrate the bands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from dft_validation.bands.cells import choose_mesh
from dft_validation.bands.doubled import DISPLACEMENT_A, cell_to_compute
from dft_validation.bands.mesh import (
    FINE_EDOS_GRID,
    BandEdges,
    MeshBands,
    Projections,
    covered_to_ev,
    edos_of_spins,
    find_band_edges,
    project_edos,
    tetrahedron_efermi,
)
from dft_validation.engines import choose_engine
from dft_validation.engines.base import Engine, EngineResult
from dft_validation.engines.magnetism import is_polarised
from dft_validation.jobs.scratch import remove_abandoned_folders, scratch_folder
from dft_validation.results.document import EdosDocument
from dft_validation.results.outcomes import EngineError, FailedJob, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell, cell_of
from mat2spec.crystals.magnetism import MAGNETIC_ELEMENTS
from mat2spec.spectra.grids import EDOS_GRID


def calculate_edos(structure: Structure, material_id: str, settings: DftSettings) -> EdosDocument | FailedJob:
    """Compute the electronic density of states of one crystal.

    Parameters
    ----------
    structure
        An ordered crystal; the spectrum is per its cell, even if a smaller primitive cell is computed.
    material_id
        Identifier for the document.
    settings
        Engine, level of theory and limits.

    Returns
    -------
    EdosDocument or FailedJob
        A failure of the calculation is returned, not raised.
    """
    engine = choose_engine(settings, list(structure.atomic_numbers))
    try:
        _refuse_unavailable(engine)
        cell = cell_to_compute(cell_of(structure), settings.symmetry_tolerance_a, doubled=settings.cell == "doubled")
        computed, zeroed = _calculate_bands(engine, cell, settings)
    except EngineError as error:
        failure = failed_job(structure, material_id, settings, error.status, error.reason, error.cpu_seconds)
    except OSError as error:
        crashed = JobStatus.CRASHED, f"A file of the job cannot be written: {error}."
        failure = failed_job(structure, material_id, settings, *(fault_of_machine(error) or crashed))
    else:
        return document_of_result(structure, material_id, settings, engine.name, cell, computed, zeroed)
    return replace(failure, engine=engine.name)


def _refuse_unavailable(engine: Engine) -> None:
    unavailable = engine.unavailable_reason()
    if unavailable:
        raise EngineError(JobStatus.ENGINE_UNAVAILABLE, unavailable)


def failed_job(
    structure: Structure,
    material_id: str,
    settings: DftSettings,
    status: JobStatus,
    reason: str,
    cpu_seconds: float = 0.0,
) -> FailedJob:
    """Record why a crystal has no spectrum."""
    return FailedJob(
        material_id=material_id,
        formula=structure.composition.reduced_formula,
        status=status,
        reason=reason,
        engine=settings.engine,
        functional=settings.functional,
        spin=settings.spin,
        settings_hash=settings.settings_hash,
        cpu_seconds=cpu_seconds,
        time_limit_s=settings.time_limit_s,
        memory_limit_mib=settings.memory_limit_mib,
    )


def _calculate_bands(engine: Engine, cell: Cell, settings: DftSettings) -> tuple[EngineResult, _Zeroed]:
    """Run the engine, with twice the empty bands if they do not cover the grid; costs are summed."""
    mesh = choose_mesh(cell, settings.kpoint_density, settings.even_mesh)
    empty_bands = settings.empty_bands(cell.atomic_numbers.tolist())
    cpu_seconds = wall_seconds = covered = 0.0
    remove_abandoned_folders()
    for _ in range(settings.band_attempts):
        with scratch_folder() as folder:
            result = engine.calculate(cell, mesh, empty_bands, settings, folder)
        cpu_seconds += result.cpu_seconds
        wall_seconds += result.wall_seconds
        zeroed = _Zeroed.of(result.bands, settings)
        covered = zeroed.covered_to_ev
        if covered >= EDOS_GRID.edges[-1]:
            return replace(result, cpu_seconds=cpu_seconds, wall_seconds=wall_seconds), zeroed
        empty_bands *= 2
    raise EngineError(
        JobStatus.NOT_COVERED,
        f"The bands reach {covered:.2f} eV, less than the grid's {EDOS_GRID.edges[-1]:.2f} eV; raise extra_bands.",
        cpu_seconds,
    )


@dataclass(frozen=True)
class _Zeroed:
    """Usable bands, their edges, their zero and how far above it they reach."""

    bands: MeshBands
    edges: BandEdges
    zero_ev: float
    covered_to_ev: float

    @classmethod
    def of(cls, bands: MeshBands, settings: DftSettings) -> _Zeroed:
        kept = bands.without_last(settings.dropped_bands)
        edges = find_band_edges(kept, settings.gap_tolerance_ev)
        if edges.is_metal and settings.fermi_energy == "tetrahedra":
            kept = replace(kept, efermi=tetrahedron_efermi(kept, settings.band_interpolation))
        zero = kept.efermi if edges.vbm is None else edges.vbm
        return cls(kept, edges, zero, covered_to_ev(kept, zero))


def document_of_result(
    structure: Structure,
    material_id: str,
    settings: DftSettings,
    engine_name: str,
    cell: Cell,
    result: EngineResult,
    zeroed: _Zeroed | None = None,
) -> EdosDocument:
    """Integrate the bands of a finished calculation.

    Parameters
    ----------
    structure
        The crystal as given; the spectrum is per its cell.
    material_id
        Identifier for the document.
    settings
        Interpolation, tolerances and level of theory.
    engine_name
        The engine that computed the bands.
    cell
        The cell that was computed.
    result
        Bands and cost. If the bands do not cover the grid, a note says so and `is_covered` masks the bins.
    zeroed
        The bands with their zero, if already known: finding a Fermi energy by tetrahedra takes a second.
    """
    zeroed = zeroed or _Zeroed.of(result.bands, settings)
    cells_per_given = len(structure) / cell.n_atoms
    bands = result.bands
    return EdosDocument(
        material_id=material_id,
        formula=structure.composition.reduced_formula,
        n_sites=len(structure),
        n_electrons=bands.n_electrons,
        engine=engine_name,
        engine_version=result.engine_version,
        functional=settings.functional,
        spin="unpolarised" if len(bands.energies_ev) == 1 else "polarised",
        u_values=result.u_values_ev,
        kpoints=bands.mesh,
        n_irreducible_kpoints=bands.energies_ev.shape[1],
        n_bands=bands.n_bands,
        cpu_seconds=result.cpu_seconds,
        wall_seconds=result.wall_seconds,
        peak_memory_mib=result.peak_memory_mib,
        settings_hash=settings.settings_hash,
        computed_n_sites=cell.n_atoms,
        computed_volume_a3=cell.volume,
        notes=[*result.notes, *_notes(structure, cell, settings, engine_name), *_coverage_notes(zeroed)],
        versions={name: metadata.version(name) for name in ("numpy", "spglib", "pymatgen")},
        settings=settings.physics(),
        magnetization=result.magnetization * cells_per_given,
        **_integrated(zeroed, result.projections, settings.band_interpolation, cells_per_given),
    )


def _integrated(
    zeroed: _Zeroed, projections: Projections | None, interpolation: int, cells_per_given: float
) -> dict[str, Any]:
    """Fields of a document derived from the bands: edges, zero, and the spectra per given cell."""
    spectra = edos_of_spins(zeroed.bands, zeroed.zero_ev, interpolation) * cells_per_given
    edos = np.sum(spectra, axis=0)
    parts: dict[str, NDArray[np.float64]] = {}
    if projections is not None:
        projected = project_edos(zeroed.bands, projections, zeroed.zero_ev, edos)
        parts = dict(zip(projections.names, projected, strict=True))
    return {
        "edos": edos,
        "edos_by_spin": spectra if len(spectra) > 1 else None,
        "fine_edos": edos_of_spins(zeroed.bands, zeroed.zero_ev, interpolation, FINE_EDOS_GRID) * cells_per_given,
        "projections": parts,
        "efermi": zeroed.bands.efermi,
        "energy_zero_ev": zeroed.zero_ev,
        "band_gap": zeroed.edges.band_gap,
        "is_metal": zeroed.edges.is_metal,
        "vbm": zeroed.edges.vbm,
        "cbm": zeroed.edges.cbm,
        "covered_to_ev": zeroed.covered_to_ev,
    }


def _coverage_notes(zeroed: _Zeroed) -> list[str]:
    if zeroed.covered_to_ev >= EDOS_GRID.edges[-1]:
        return []
    return [f"Bands are missing above {zeroed.covered_to_ev:.2f} eV: the bins beyond are masked by is_covered."]


def _notes(structure: Structure, cell: Cell, settings: DftSettings, engine_name: str) -> list[str]:
    notes = []
    polarised = is_polarised(cell, settings)
    if engine_name != settings.engine:
        notes.append(f"Computed with {engine_name}, as {settings.engine} lacks an element.")
    magnetic = sorted({str(element) for element in structure.composition.elements} & MAGNETIC_ELEMENTS)
    if magnetic and not polarised:
        notes.append(
            f"Computed without spin polarisation, although solids with {', '.join(magnetic)} are often magnetic."
        )
    if settings.cell == "doubled":
        notes.append(
            f"Computed in a doubled cell of {cell.n_atoms} atoms, displaced by {DISPLACEMENT_A} Angstrom on average; moments "
            "start alternating."
        )
    elif cell.n_atoms < len(structure):
        notes.append(
            f"Computed in the primitive cell of {cell.n_atoms} atoms, given per cell of {len(structure)} atoms."
        )
    return notes
