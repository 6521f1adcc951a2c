"""Options that several commands share, and the settings they correspond to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from flows.source_words import named_source
from mat2spec.settings import Level

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="YAML file with settings; see `mat2spec settings`."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Set one setting, e.g. gap.min_width_ev=1.2; may be repeated."
    ),
]
ResultsOption = Annotated[Path | None, typer.Option("--results-dir", help="Folder of all runs.")]
RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Run id or folder; the last finished run by default.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or auto; short for --set prediction.device=...")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Model to predict with; may be repeated. Default: prediction.models."),
]
_SOURCES = "data folder, archive of the paper, folder of structures and spectra, or Parquet table"
SourceOption = Annotated[
    Path, typer.Option("--data", envvar="MAT2SPEC_DATA_DIR", help=f"Labelled spectra: {_SOURCES}.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="MAT2SPEC_DATA_DIR", help=f"Labelled spectra: {_SOURCES}; by default only eDOS stores."
    ),
]
StoresOption = Annotated[
    list[Path] | None,
    typer.Option("--store", metavar="STORE", help="Another store of `mat2spec label`; may be repeated."),
]
LevelOption = Annotated[
    Level, typer.Option("--level", help="Level of theory of the labels: mp for those of a label plan.")
]


def source_settings(source: Path | str | None) -> dict[str, object]:
    """Settings of the source that --source names."""
    return {} if source is None else {f"source.{name}": value for name, value in named_source(source).items()}


def as_assignments(given: Mapping[str, object], assignments: list[str] | None) -> list[str]:
    """Options as assignments; an explicit --set comes last and wins."""
    named = [f"{key}={json.dumps(value, default=str)}" for key, value in given.items() if value is not None]
    return named + (assignments or [])
