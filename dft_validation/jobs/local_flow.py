"""A flow of several jobs, run on this machine: in a child process, with a folder for each job.

`python -m dft_validation.jobs.local_flow INPUT OUTPUT` is the child. jobflow changes the working folder of the process that
runs a flow, so workers in threads cannot share one.
"""

from __future__ import annotations

import json
import logging
import resource
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from atomate2 import SETTINGS
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Structure

from dft_validation.engines.child import ended_by_signal, run_child
from dft_validation.engines.limits import end_with_parent, limit_cpu, make_session_as_nice, started_by
from dft_validation.jobs.calculation import failed_job
from dft_validation.jobs.maker import EdosMaker
from dft_validation.jobs.scratch import remove_abandoned_folders, scratch_folder
from dft_validation.results.cache import Outcome, outcome_of_dict
from dft_validation.results.outcomes import EngineError, FailedJob, JobStatus, fault_of_machine
from dft_validation.settings import DftSettings

logger = logging.getLogger(__name__)

# Where atomate2 keeps large parts of its documents, apart from the outputs of jobs.
_STORE_OF_DATA = "data"
# A shell reports this much more than the number of the signal that ended a program.
_OF_A_SIGNAL = 128


def run_flow(structure: Structure, material_id: str, settings: DftSettings) -> Outcome:
    """Compute one crystal with the flow of `EdosMaker`.

    Each process of the flow may use `settings.time_limit_s` of CPU time. Memory is left to the machine, since the processes
    of an MPI program share theirs.

    Parameters
    ----------
    structure, material_id
        The crystal.
    settings
        With an engine whose calculation is a flow of several jobs.
    """
    remove_abandoned_folders()
    with scratch_folder() as folder:
        source, target, log = folder / "input.json", folder / "output.json", folder / "flow.log"
        values = {
            "structure": structure.as_dict(),
            "material_id": material_id,
            "settings": settings.model_dump(mode="json"),
        }
        source.write_text(json.dumps(values))
        command = [sys.executable, "-m", "dft_validation.jobs.local_flow", str(source), str(target)]
        try:
            run_child(settings.engine, command, folder, log, settings)
        except EngineError as error:
            return failed_job(structure, material_id, settings, error.status, error.reason, error.cpu_seconds)
        return outcome_of_dict(json.loads(target.read_text()))


def compute_here(structure: Structure, material_id: str, settings: DftSettings, folder: Path) -> Outcome:
    """Run the jobs of the flow one after another, each in a folder of its own; a job that fails ends it.

    Parameters
    ----------
    structure, material_id, settings
        As for `run_flow`.
    folder
        Where the folders of the jobs are made.
    """
    exit_status = _note_exit_status(folder)
    flow = EdosMaker.from_settings(settings).make(structure, material_id)
    store = JobStore(MemoryStore(), additional_stores={_STORE_OF_DATA: MemoryStore()})
    try:
        responses = run_locally(flow, create_folders=True, root_dir=folder, store=store, raise_immediately=True)
    except EngineError as error:
        return failed_job(structure, material_id, settings, error.status, error.reason)
    except Exception as error:
        # What the libraries of a flow raise is not known; the traceback is in its log.
        logger.exception("The flow of %s failed.", material_id)
        return failed_job(structure, material_id, settings, *_classify(error, _last_of(exit_status), settings))
    if flow.output.uuid not in responses:
        reason = "A job of the flow ended it before its document, e.g. because VASP did not converge."
        return failed_job(structure, material_id, settings, JobStatus.UNCONVERGED, reason)
    outcome: Outcome = responses[flow.output.uuid][1].output
    return outcome


def _note_exit_status(folder: Path) -> Path:
    """Let every run of VASP that this process starts write its exit status to a file; return the file.

    custodian reports missing outputs of a program that was killed, not how it ended. To be called before atomate2's jobs are
    imported, which keep the command that they find then.
    """
    file, launcher = folder / "exit_status", folder / "note_exit_status"
    launcher.write_text(f'#!/bin/sh\n"$@"\nstatus=$?\necho $status > {shlex.quote(str(file))}\nexit $status\n')
    launcher.chmod(0o755)
    for name in ("VASP_CMD", "VASP_GAMMA_CMD"):
        setattr(SETTINGS, name, f"{shlex.quote(str(launcher))} {getattr(SETTINGS, name)}")
    return file


def _last_of(exit_status: Path) -> int:
    """Exit status of the last program that was run; 0 if none was."""
    return int(exit_status.read_text() or 0) if exit_status.exists() else 0


def _classify(error: Exception, exit_status: int, settings: DftSettings) -> tuple[JobStatus, str]:
    """Kind of a failure and a sentence: what the machine or a limit ended says nothing about the crystal."""
    passing = fault_of_machine(error) or ended_by_signal(exit_status - _OF_A_SIGNAL, settings)
    return passing or (JobStatus.CRASHED, f"{type(error).__name__}: {error}".splitlines()[0][:300])


def main(arguments: list[str]) -> None:
    """Run the flow that a file describes and write its outcome to another."""
    source, target = map(Path, arguments)
    end_with_parent(started_by())
    make_session_as_nice()
    values = json.loads(source.read_text())
    settings = DftSettings.model_validate(values["settings"])
    limit_cpu(settings.time_limit_s)
    structure = Structure.from_dict(values["structure"])
    outcome = compute_here(structure, values["material_id"], settings, source.parent)
    if isinstance(outcome, FailedJob) and not outcome.cpu_seconds:
        outcome = replace(outcome, cpu_seconds=_spent_cpu_seconds())
    target.write_text(json.dumps(outcome.as_dict()))


def _spent_cpu_seconds() -> float:
    """CPU time of the processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
