"""The command `mat2spec predict`: its options and its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, DeviceOption, ModelOption, SetOption, as_assignments
from mat2spec.settings import PHDOS_MODELS

TransportOption = Annotated[
    bool,
    typer.Option("--transport", help="Add masses and Seebeck coefficients by tight-binding bands: some seconds each."),
]
BandsOption = Annotated[
    Path | None,
    typer.Option(
        "--bands", metavar="FOLDER", help="Write tight-binding bands too: for pymatgen, and drawn beside the DOS."
    ),
]


def predict(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files, folders or patterns of crystals, or identifiers.")
    ],
    table: Annotated[Path, typer.Option("--table", "-t", help="Where the table goes: .parquet or .csv.")] = Path(
        "predictions.parquet"
    ),
    plot: Annotated[Path, typer.Option("--plot", "-p", help="Where the plot goes: .html, .png, .svg or .pdf.")] = Path(
        "predictions.html"
    ),
    page: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="PAGE", help="Write a page too: spectra, gap, structure, a verdict, e.g. si.html."
        ),
    ] = None,
    spectrum: Annotated[
        str, typer.Option("--spectrum", help="edos: electronic, or phdos: phonon density of states.")
    ] = "edos",
    transport: TransportOption = False,
    bands: BandsOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    models: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Predict the electronic or phonon density of states of the crystals in files.

    Read are CIF, POSCAR, JSON of pymatgen, the Materials Project and matbench, extxyz, ASE databases and Parquet; an
    identifier such as mp-149, also one in a text file, is looked up in the runs, the catalogue and the Materials Project.

    Without --model the models of `prediction.models` predict, the most accurate first; phonons only sitedos. A
    file that cannot be read or predicted becomes a row of the table with the reason; the others are still
    predicted, and the exit code is 1.

    **Examples**

        mat2spec predict SrVO3.cif

        mat2spec predict *.cif --table dos.csv --plot dos.png

        mat2spec predict SrVO3.cif --report SrVO3.html

        mat2spec predict GaAs.cif --transport --bands bands/

        mat2spec predict mp-149 relaxed/ --model mat2spec

        mat2spec predict POSCAR --spectrum phdos   # by sitedos; --model force-constants is better, and takes seconds each
    """
    phonon_models = list(PHDOS_MODELS) if spectrum == "phdos" and config is None else None
    given = as_assignments({"prediction.models": models or phonon_models, "prediction.device": device}, assignments)
    extras = commands.predict.FromBands(transport, bands) if transport or bands else None
    code = commands.predict.predict_files(files, table, plot, config, given, spectrum, page=page, bands=extras)
    raise typer.Exit(code)
