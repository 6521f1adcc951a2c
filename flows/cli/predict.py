"""The command `mat2spec predict`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, DeviceOption, ModelOption, SetOption, as_assignments


def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CIF, POSCAR or pymatgen JSON files.")],
    table: Annotated[Path, typer.Option("--table", "-t", help="Where the table goes: .parquet or .csv.")] = Path(
        "predictions.parquet"
    ),
    plot: Annotated[Path, typer.Option("--plot", "-p", help="Where the plot goes: .html or .png.")] = Path(
        "predictions.html"
    ),
    spectrum: Annotated[
        str, typer.Option("--spectrum", help="edos: electronic, or phdos: phonon density of states.")
    ] = "edos",
    config: ConfigOption = None,
    assignments: SetOption = None,
    models: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Predict the electronic or phonon density of states of the crystals in files.

    Without --model and --config the most accurate models predict: tight-binding and sitedos, or sitedos alone for
    phonons. A file that cannot be read or predicted becomes a row of the table with the reason; the others
    are still predicted, and the exit code is 1.

    **Examples**

        mat2spec predict SrVO3.cif

        mat2spec predict *.cif --table dos.csv --plot dos.png

        mat2spec predict POSCAR --model mat2spec

        mat2spec predict POSCAR --spectrum phdos   # by sitedos, the best model for phonons
    """
    chosen = models or _best_models(spectrum, config)
    given = {"prediction.models": chosen, "prediction.device": device}
    raise typer.Exit(
        commands.predict.predict_files(files, table, plot, config, as_assignments(given, assignments), spectrum)
    )


def _best_models(spectrum: str, config: Path | None) -> list[str] | None:
    """The most accurate models for a spectrum; None leaves the choice to the settings file."""
    if spectrum == "phdos":
        return ["sitedos"]
    return ["tight-binding", "sitedos"] if config is None else None
