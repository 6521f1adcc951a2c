"""Estimated duration of a job before it starts, and refinement of the estimate from finished jobs."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dft_validation.bands.cells import choose_mesh, count_irreducible
from dft_validation.engines.base import Engine
from dft_validation.engines.magnetism import is_polarised
from dft_validation.results.cache import DocumentCache
from dft_validation.results.document import EdosDocument
from dft_validation.settings import DftSettings
from mat2spec.crystals.cell import Cell

# Refits to fewer jobs than this keep the shipped exponents and adapt only the scale.
_JOBS_FOR_FULL_FIT = 30
# One or two finished jobs may have run on a busy machine: with fewer than this the shipped estimate stays.
_JOBS_FOR_SCALE = 5
# Minimum fraction of its time that a job spends on the calculation.
_LEAST_SHARE = 0.1
# The number of plane waves per Angstrom^3 scales with the cutoff to this power; the fit was made at one cutoff.
_PLANE_WAVE_EXPONENT = 1.5


@dataclass(frozen=True)
class JobSize:
    """Quantities that determine the cost of a plane-wave calculation.

    Parameters
    ----------
    n_irreducible_kpoints
        Irreducible points of the k-mesh, counted for each spin channel.
    n_bands
        Bands computed.
    volume_a3
        Volume of the computed cell in cubic Angstrom, scaled to the cutoff of the fit, as a measure of the plane waves.
    """

    n_irreducible_kpoints: int
    n_bands: int
    volume_a3: float


@dataclass(frozen=True)
class CostModel:
    """CPU seconds = start-up + scale x irreducible k-points^a x bands^b x volume^c.

    Scale and exponents were fitted by least squares of the logarithm to the CPU seconds of 531 GPAW calculations with the
    default settings on one core of a Xeon server (1-8 atoms, 5-130 s), including the labels shipped with the project:
    median error 13 %, 90 % within a factor 1.4, the sum 4 % too small; large cells of alkali metals cost up to twice the
    estimate. `DftSettings.cost_factor` adapts it to another machine, `refit` learns from finished jobs.
    """

    startup_cpu_seconds: float = 3.0
    scale: float = 3.00e-4
    kpoint_exponent: float = 1.096
    band_exponent: float = 1.776
    volume_exponent: float = 0.408

    def estimate(self, size: JobSize) -> float:
        """CPU time of a job in seconds."""
        return self.startup_cpu_seconds + float(
            self.scale
            * size.n_irreducible_kpoints**self.kpoint_exponent
            * size.n_bands**self.band_exponent
            * size.volume_a3**self.volume_exponent
        )

    def refit(self, documents: Iterable[EdosDocument], cutoff_ev: float | None = None) -> CostModel:
        """Adapt the model to finished jobs: the scale from any number of them, from 30 on also the exponents.

        Parameters
        ----------
        documents
            Finished jobs of one machine.
        cutoff_ev
            Plane-wave cutoff of jobs whose settings do not give it, in eV.
        """
        finished = [document for document in documents if document.cpu_seconds > 0]
        if not finished:
            return self
        sizes = [_size_of_document(document, cutoff_ev) for document in finished]
        spent = np.array([document.cpu_seconds for document in finished])
        # Even a job that took hardly longer than the start-up spent some time on the calculation.
        seconds = np.log(np.maximum(spent - self.startup_cpu_seconds, _LEAST_SHARE * spent))
        if len(finished) < _JOBS_FOR_FULL_FIT:
            ratio = float(
                np.median(seconds - np.log([self.estimate(size) - self.startup_cpu_seconds for size in sizes]))
            )
            return replace(self, scale=self.scale * float(np.exp(ratio)))
        logs = np.log([[size.n_irreducible_kpoints, size.n_bands, size.volume_a3] for size in sizes])
        design = np.column_stack([np.ones(len(logs)), logs])
        constant, *exponents = np.linalg.lstsq(design, seconds, rcond=None)[0]
        return CostModel(
            self.startup_cpu_seconds, float(np.exp(constant)), *(float(exponent) for exponent in exponents)
        )


def fitted_cost_model(settings: DftSettings) -> CostModel:
    """The shipped model, adapted to the finished jobs in the cache that were computed in the same way.

    Parameters
    ----------
    settings
        Engine and cache; `cost_factor` is used only if too few jobs have finished for a fit.
    """
    shipped = CostModel()
    finished = [
        document
        for document in DocumentCache(settings.cache_dir).documents()
        if document.engine == settings.engine and document.cpu_seconds > 0
    ]
    if len(finished) < _JOBS_FOR_SCALE:
        startup, scale = shipped.startup_cpu_seconds, shipped.scale
        return replace(shipped, startup_cpu_seconds=startup * settings.cost_factor, scale=scale * settings.cost_factor)
    return shipped.refit(finished)


def time_to_finish_s(estimates: Sequence[float], workers: int) -> float:
    """Wall time until the last of some jobs ends, taken in order by the workers, in seconds.

    Parameters
    ----------
    estimates
        Expected duration of each job in seconds.
    workers
        Number of parallel jobs.
    """
    free_at = [0.0] * max(workers, 1)
    for estimate in estimates:
        heapq.heapreplace(free_at, free_at[0] + estimate)
    return max(free_at)


def _scale_volume(volume_a3: float, cutoff_ev: float) -> float:
    reference = float(DftSettings.model_fields["plane_wave_cutoff_ev"].default)
    return volume_a3 * (cutoff_ev / reference) ** _PLANE_WAVE_EXPONENT


def _size_of_document(document: EdosDocument, cutoff_ev: float | None) -> JobSize:
    default = cutoff_ev or float(DftSettings.model_fields["plane_wave_cutoff_ev"].default)
    cutoff = float(document.settings.get("plane_wave_cutoff_ev", default))
    volume = _scale_volume(document.computed_volume_a3, cutoff)
    n_spins = 1 if document.edos_by_spin is None else 2
    return JobSize(n_spins * document.n_irreducible_kpoints, document.n_bands, volume)


def measure_job(cell: Cell, engine: Engine, settings: DftSettings) -> JobSize:
    """Size of the calculation that `settings` ask for.

    Parameters
    ----------
    cell
        The prepared cell.
    engine
        Gives the valence electrons.
    settings
        k-mesh, bands, cutoff.
    """
    mesh = choose_mesh(cell, settings.kpoint_density, settings.even_mesh)
    electrons = engine.count_electrons(cell.atomic_numbers.tolist())
    return JobSize(
        n_irreducible_kpoints=(2 if is_polarised(cell, settings) else 1) * count_irreducible(cell, mesh),
        n_bands=-(-electrons // 2) + settings.empty_bands(cell.atomic_numbers.tolist()),
        volume_a3=_scale_volume(cell.volume, settings.plane_wave_cutoff_ev),
    )
