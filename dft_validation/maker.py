"""The calculation as a jobflow job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import Maker, job

from dft_validation.calculation import calculate_edos
from dft_validation.settings import DftSettings

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from dft_validation.cache import Outcome


@dataclass
class EdosMaker(Maker):
    """Makes a job that computes the electronic density of states of one crystal.

    Parameters
    ----------
    name
        Name of its jobs.
    settings
        Fields of `DftSettings` that differ from the defaults; plain values, so that a job can travel to another
        machine as JSON.
    """

    name: str = "edos"
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: DftSettings) -> EdosMaker:
        """Maker of jobs under given settings."""
        return cls(settings=settings.model_dump(mode="json"))

    @job
    def make(self, structure: Structure, material_id: str) -> Outcome:
        """Compute one crystal; the output is an `EdosDocument`, or a `FailedJob` with its reason."""
        return calculate_edos(structure, material_id, DftSettings(**self.settings))
