"""The command `mat2spec label`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption, as_assignments, source_settings

SourceOption = Annotated[
    str | None,
    typer.Option("--source", metavar="TABLE", help="Parquet table of crystals, or catalogue (the default)."),
]
NumberOption = Annotated[int | None, typer.Option("--n", "-n", min=1, help="Crystals to label.")]
ChoiceOption = Annotated[
    str | None, typer.Option("--choice", help="random, chemistry, gapped or uncertainty; default: chemistry.")
]
IdsOption = Annotated[
    Path | None,
    typer.Option("--ids", metavar="FILE", help="Label the crystals of this list: one material_id per line."),
]
RunOption = Annotated[
    str | None, typer.Option("--from-run", metavar="RUN", help="Add the DFT results of this screen, e.g. latest.")
]
PlanOption = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="Label the crystals of this plan; it is created if missing."),
]
CollectOption = Annotated[
    bool, typer.Option("--collect-only", help="Compute nothing; add finished results from the cache.")
]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, help="Number of jobs that run in parallel.")]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="Where the labels go: a Parquet file or a folder of shards. Default: data/edos_store.parquet, with a plan "
        "data/edos_store.",
    ),
]
ReservedOption = Annotated[
    Path | None, typer.Option("--reserved", metavar="FILE", help="Ids and formulas that are never labelled.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="MAT2SPEC_DATA_DIR", help="Folder whose reserved_ids.txt is used without --reserved."
    ),
]


def label(
    source: SourceOption = None,
    n: NumberOption = None,
    choice: ChoiceOption = None,
    ids: IdsOption = None,
    from_run: RunOption = None,
    plan: PlanOption = None,
    collect_only: CollectOption = False,
    workers: WorkersOption = None,
    store: StoreOption = None,
    reserved: ReservedOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Compute electronic densities of states of chosen crystals by DFT, to train on.

    Labels go to the eDOS store that `mat2spec train edos` reads. Finished jobs are never repeated;
    run the same command again to resume.

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
