"""How long a job will take, before it starts, and how to learn that from finished jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dft_validation.cells import Cell, choose_mesh, count_irreducible
from dft_validation.document import EdosDocument
from dft_validation.engines.base import Engine
from dft_validation.settings import DftSettings

# Refits below this number of jobs keep the shipped exponents and scale the constant only.
_JOBS_FOR_FULL_FIT = 30
# The plane waves per Angstrom^3 grow with the cutoff to this power; the fit was made at one cutoff.
_PLANE_WAVE_EXPONENT = 1.5


@dataclass(frozen=True)
class JobSize:
    """What the cost of a plane-wave calculation depends on.

    Parameters
    ----------
    n_irreducible_kpoints
        Irreducible points of the k-mesh.
    n_bands
        Bands computed.
    volume_a3
        Volume of the computed cell in cubic Angstrom, scaled to the cutoff of the fit: it stands for the plane waves.
    """

    n_irreducible_kpoints: int
    n_bands: int
    volume_a3: float


@dataclass(frozen=True)
class CostModel:
    """CPU seconds = scale x irreducible k-points^a x bands^b x volume^c.

    The defaults were fitted by least squares of the logarithm (soft-L1 loss) to the CPU seconds of 281 GPAW
    calculations with the default settings (1-8 atoms, 2.5-108 s): median error 18 %, 90 % within a factor 1.6.
    The time is that machine's; `DftSettings.cost_factor` adapts it and `refit` learns it from finished jobs.
    """

    scale: float = 2.5e-4
    kpoint_exponent: float = 0.976
    band_exponent: float = 1.682
    volume_exponent: float = 0.490

    def estimate(self, size: JobSize) -> float:
        """CPU time of a job in seconds."""
        return float(
            self.scale
            * size.n_irreducible_kpoints**self.kpoint_exponent
            * size.n_bands**self.band_exponent
            * size.volume_a3**self.volume_exponent
        )

    def refit(self, documents: Iterable[EdosDocument], cutoff_ev: float | None = None) -> CostModel:
        """Adapt the model to finished jobs: the scale from any number of them, the exponents too from 30 on.

        Parameters
        ----------
        documents
            Finished jobs of one machine.
        cutoff_ev
            Plane-wave cutoff of those jobs if their settings do not say, in eV.
        """
        finished = [document for document in documents if document.cpu_seconds > 0]
        if not finished:
            return self
        sizes = [_size_of_document(document, cutoff_ev) for document in finished]
        seconds = np.log([document.cpu_seconds for document in finished])
        if len(finished) < _JOBS_FOR_FULL_FIT:
            ratio = float(np.median(seconds - np.log([self.estimate(size) for size in sizes])))
            return CostModel(
                self.scale * float(np.exp(ratio)), self.kpoint_exponent, self.band_exponent, self.volume_exponent
            )
        logs = np.log([[size.n_irreducible_kpoints, size.n_bands, size.volume_a3] for size in sizes])
        design = np.column_stack([np.ones(len(logs)), logs])
        constant, *exponents = np.linalg.lstsq(design, seconds, rcond=None)[0]
        return CostModel(float(np.exp(constant)), *(float(exponent) for exponent in exponents))


def _scale_volume(volume_a3: float, cutoff_ev: float) -> float:
    reference = float(DftSettings.model_fields["plane_wave_cutoff_ev"].default)
    return volume_a3 * (cutoff_ev / reference) ** _PLANE_WAVE_EXPONENT


def _size_of_document(document: EdosDocument, cutoff_ev: float | None) -> JobSize:
    default = cutoff_ev or float(DftSettings.model_fields["plane_wave_cutoff_ev"].default)
    cutoff = float(document.settings.get("plane_wave_cutoff_ev", default))
    volume = _scale_volume(document.computed_volume_a3, cutoff)
    return JobSize(document.n_irreducible_kpoints, document.n_bands, volume)


def measure_job(cell: Cell, engine: Engine, settings: DftSettings) -> JobSize:
    """Size of the calculation that `settings` ask for.

    Parameters
    ----------
    cell
        The prepared cell.
    engine
        Knows the valence electrons.
    settings
        k-mesh, bands, cutoff.
    """
    mesh = choose_mesh(cell, settings.kpoint_density)
    electrons = engine.count_electrons(cell.atomic_numbers.tolist())
    empty_bands = settings.extra_bands + settings.extra_bands_per_atom * cell.n_atoms
    return JobSize(
        n_irreducible_kpoints=count_irreducible(cell, mesh),
        n_bands=-(-electrons // 2) + empty_bands,
        volume_a3=_scale_volume(cell.volume, settings.plane_wave_cutoff_ev),
    )
