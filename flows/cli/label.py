"""The command `mat2spec label`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption, as_assignments, source_settings


def label(
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="TABLE", help="Parquet table of crystals, or catalogue (the default)."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Crystals to label.")] = None,
    choice: Annotated[
        str | None, typer.Option("--choice", help="random, chemistry, gapped or uncertainty; default: chemistry.")
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", metavar="FILE", help="Label these crystals: one material_id a line.")
    ] = None,
    from_run: Annotated[
        str | None, typer.Option("--from-run", metavar="RUN", help="Add the DFT results of a screen; or: latest.")
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="FILE", help="Label the crystals of this plan; it is made if it does not exist."
        ),
    ] = None,
    collect_only: Annotated[
        bool, typer.Option("--collect-only", help="Compute nothing; add what is finished in the cache.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Jobs at the same time.")] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="FILE", help="Where the labels go; data/edos_store.parquet.")
    ] = None,
    reserved: Annotated[
        Path | None, typer.Option("--reserved", metavar="FILE", help="Ids and formulas that are never labelled.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="MAT2SPEC_DATA_DIR", help="Folder whose reserved_ids.txt is used without it."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Compute electronic densities of states of chosen crystals by DFT, to train on.

    Labels go to the eDOS store that `mat2spec train edos` reads. Finished jobs are never computed
    again: labelling that was stopped resumes when the same command is given again.

    **Examples**

        mat2spec label --n 50 --workers 2

        mat2spec label --n 20 --choice uncertainty --reserved reserved_ids.txt

        mat2spec label --source crystals.parquet --ids ids.txt --store my_labels.parquet

        mat2spec label --source mp_structures.parquet --plan plan.parquet

        mat2spec label --collect-only

        mat2spec label --from-run latest
    """
    given = {
        **source_settings(source),
        "label.n": n,
        "label.choice": choice,
        "label.store": store,
        "label.reserved": reserved,
        "dft.workers": workers,
    }
    commands.label.label(
        config,
        as_assignments(given, assignments),
        data=data,
        ids=ids,
        plan=plan,
        from_run=from_run,
        collect_only=collect_only,
    )
