"""The jobs of a VASP calculation: check of the POTCARs, relaxation if wanted, static run, uniform run, document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobflow import Flow, Job, job
from pymatgen.core import Structure

from dft_validation.engines.vasp import find_potcar_problem, read_vasp_folder
from dft_validation.jobs.calculation import document_of_result, failed_job
from dft_validation.jobs.vasp_makers import relax_maker, vasp_maker
from dft_validation.results.cache import Outcome
from dft_validation.results.outcomes import EngineError, JobStatus
from dft_validation.settings import DftSettings

RELAXED = "The crystal was relaxed first, as the Materials Project does; the cost does not include this."


def vasp_flow(structure: Structure, material_id: str, settings: DftSettings, name: str) -> Flow:
    """Flow whose output is the document; it ends with the first job if POTCARs are missing.

    Parameters
    ----------
    structure
        The crystal; VASP computes the cell as given.
    material_id
        Identifier for the document, and metadata of every job.
    settings
        Level of theory and density of the mesh.
    name
        Name of the flow.
    """
    check: Job = check_potcars(structure)
    relaxation = [relax_maker(settings).make(check.output)] if settings.vasp_relax else []
    bands = vasp_maker(settings).make(relaxation[0].output.structure if relaxation else check.output)
    static, uniform = bands.jobs
    document: Job = make_document(
        structure, material_id, settings.model_dump(mode="json"), uniform.output.dir_name, static.output.dir_name
    )
    flow = Flow([check, *relaxation, bands, document], document.output, name=name)
    flow.update_metadata({"material_id": material_id})
    return flow


@job(name="check POTCARs")
def check_potcars(structure: Structure) -> Structure:
    """Return the structure if all its POTCARs exist.

    Raises
    ------
    EngineError
        If any are missing; the message says which, and what to do.
    """
    problem = find_potcar_problem(structure)
    if problem:
        raise EngineError(JobStatus.UNSUPPORTED_ELEMENT, problem)
    return structure


@job(name="edos document")
def make_document(
    structure: Structure, material_id: str, settings: dict[str, object], uniform_dir: str, static_dir: str
) -> Outcome:
    """Parse the folders of both runs; a damaged or unconverged run becomes a `FailedJob` with its reason."""
    chosen = DftSettings.model_validate(settings)
    try:
        cell, result = read_vasp_folder(local_path(uniform_dir), local_path(static_dir))
    except EngineError as error:
        return failed_job(structure, material_id, chosen, error.status, error.reason, error.cpu_seconds)
    if chosen.vasp_relax:
        result = replace(result, notes=[*result.notes, RELAXED])
    return document_of_result(structure, material_id, chosen, "vasp", cell, result)


def local_path(dir_name: str) -> Path:
    """Folder without the host name that atomate2 prefixes."""
    _, separator, path = str(dir_name).partition(":")
    return Path(path if separator and path.startswith("/") else str(dir_name))
