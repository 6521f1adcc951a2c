"""The calculation as a jobflow flow: one maker for every engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Job, Maker, job
from pymatgen.core import Structure

from dft_validation.jobs.calculation import calculate_edos
from dft_validation.results.cache import Outcome
from dft_validation.settings import DftSettings


@dataclass
class EdosMaker(Maker):
    """Makes a flow that computes the electronic density of states of one crystal.

    The output of the flow is an `EdosDocument`, or a `FailedJob` with its reason. GPAW and Elk compute it in one job;
    VASP in four of atomate2: check of the POTCARs, static run, uniform run, document; in six with a relaxation.

    Parameters
    ----------
    name
        Name of its flows.
    settings
        Fields of `DftSettings` that differ from the defaults, as plain values, so that a job can be sent to another
        machine as JSON.
    """

    name: str = "edos"
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: DftSettings) -> EdosMaker:
        """Maker of flows with given settings."""
        return cls(settings=settings.model_dump(mode="json"))

    def make(self, structure: Structure, material_id: str = "") -> Flow:
        """Flow for one crystal.

        Parameters
        ----------
        structure
            An ordered crystal.
        material_id
            Recorded in the document and in the metadata of every job.
        """
        settings = DftSettings(**self.settings)
        if settings.runs_as_flow:
            from dft_validation.jobs.vasp_flow import vasp_flow

            return vasp_flow(structure, material_id, settings, self.name)
        calculation: Job = compute(structure, material_id, self.settings)
        flow = Flow([calculation], calculation.output, name=self.name)
        flow.update_metadata({"material_id": material_id})
        return flow


@job(name="edos")
def compute(structure: Structure, material_id: str, settings: dict[str, Any]) -> Outcome:
    """Compute one crystal in a child process of this job."""
    return calculate_edos(structure, material_id, DftSettings(**settings))
