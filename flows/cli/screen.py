"""The command `mat2spec screen`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import (
    ConfigOption,
    DeviceOption,
    ModelOption,
    ResultsOption,
    SetOption,
    as_assignments,
    source_settings,
)

CrystalsOption = Annotated[
    Path | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="Parquet table, folder, pattern or file of crystals, identifiers such as mp-149,mp-150 or a text file of "
        "them, or materials-project; the embedded catalogue by default.",
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="What is searched for, as an SQL condition on classes, properties and candidates; gapped metals by default.",
    ),
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Predictions that others published, by material_id, screened like a model; alone unless --model is given.",
    ),
]
FunnelOption = Annotated[
    bool | None,
    typer.Option(
        "--funnel/--exhaustive",
        help="Let the accurate models predict only what a fast model does not rule out, or everything; a funnel by "
        "default from funnel.from_candidates candidates on.",
        show_default=False,
    ),
]


def screen(
    source: CrystalsOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    results_dir: ResultsOption = None,
    limit: Annotated[int | None, typer.Option(help="Only the first this many materials of the source.")] = None,
    models: ModelOption = None,
    predictions: PredictionsOption = None,
    device: DeviceOption = None,
    dft: Annotated[bool, typer.Option("--dft/--no-dft", help="Run the DFT jobs, or only queue them.")] = True,
    where: TargetOption = None,
    funnel: FunnelOption = None,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Screen only what no previous run has screened.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the screen would do, without doing it.")
    ] = False,
) -> None:
    """Screen crystals for gapped metals: filter, predict, classify, compute the best by DFT, evaluate.

    Tables go to `results/RUN/`, and `results/latest` points to the last finished run. A run that was
    stopped resumes when the same command is run again.

    **Examples**

        mat2spec screen

        mat2spec screen --source crystals.parquet --no-dft

        mat2spec screen --source "relaxed/**/CONTCAR"

        mat2spec screen --source materials-project   # API key: environment variable MP_API_KEY

        mat2spec screen --source materials-project-open --only-new   # the open data need no key

        mat2spec screen --set filters.n_elements_max=3 --set gap.min_width_ev=1.2

        mat2spec screen --where "gapped_metal_type = 'p' and carriers_per_cm3 > 1e20"

        mat2spec screen --source materials-project --predictions edos_of_others.npz

        mat2spec screen --source materials-project-open --exhaustive   # every model predicts everything

        mat2spec screen --config my_screen.yaml --dry-run
    """
    given = {
        **source_settings(source),
        "source.limit": limit,
        "results_dir": results_dir,
        "prediction.models": [*(models or []), *(str(path.resolve()) for path in predictions or [])] or None,
        "prediction.device": device,
        "run_dft": None if dft else False,
        "classify.target": where,
        "only_new": True if only_new else None,
        "funnel.mode": None if funnel is None else ("always" if funnel else "never"),
    }
    commands.screen.screen_crystals(config, as_assignments(given, assignments), dry_run=dry_run)
