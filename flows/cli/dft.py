"""The commands `mat2spec dft ...`: their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ResultsOption, RunArgument, SetOption

dft_app = typer.Typer(no_args_is_help=True, help="Inspect, run, retry and report the DFT jobs of a run.")


@dft_app.command("status")
def dft_status(run: RunArgument = None, results_dir: ResultsOption = None) -> None:
    """Show the states of the DFT jobs, why some failed, and when the rest will be done.

    **Examples**

        mat2spec dft status
    """
    commands.dft.print_status(run, results_dir)


@dft_app.command("run")
def dft_run(
    run: RunArgument = None,
    results_dir: ResultsOption = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Submit through jobflow-remote, and collect what has finished there.")
    ] = False,
    assignments: SetOption = None,
) -> None:
    """Run the queued DFT jobs of a run, then evaluate it; nothing is predicted again.

    Only the run folder is needed; it may have been copied from another machine. Several processes may work on the
    same run. Finished jobs are kept even if a process is stopped.

    **Examples**

        mat2spec screen --no-dft

        mat2spec dft run

        mat2spec dft run --set dft.workers=4 --set dft.time_limit_s=3600

        mat2spec dft run 20261123T020654Z-1a2b3c4d --remote --set remote.project=hpc
    """
    commands.dft.run_queue(run, results_dir, assignments or [], remote=remote)


@dft_app.command("retry")
def dft_retry(
    types: Annotated[
        list[str], typer.Option("--type", "-t", metavar="TYPE", help="State of the jobs, e.g. unconverged.")
    ],
    run: RunArgument = None,
    results_dir: ResultsOption = None,
    assignments: SetOption = None,
) -> None:
    """Requeue DFT jobs that failed in one or more ways; `mat2spec dft run` then runs them.

    **Examples**

        mat2spec dft retry --type unconverged --set dft.max_scf_iterations=300

        mat2spec dft retry --type time_limit --type memory_limit --set dft.time_limit_s=3600

        mat2spec dft retry --type over_budget
    """
    commands.dft.retry_jobs(run, results_dir, types, assignments or [])


@dft_app.command("report")
def dft_report(run: RunArgument = None, results_dir: ResultsOption = None) -> None:
    """Write the page of the run from what has finished so far, and print precision and recall.

    **Examples**

        mat2spec dft report
    """
    commands.dft.write_report(run, results_dir)
