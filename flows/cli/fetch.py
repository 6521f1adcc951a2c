"""The commands `mat2spec fetch ...`: their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, SetOption

fetch_app = typer.Typer(no_args_is_help=True, help="Fetch spectra and structures of the Materials Project to train on.")

ReservedOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="MAT2SPEC_DATA_DIR", help="Folder with the list of reserved materials to leave out."),
]


@fetch_app.command("edos")
def fetch_edos(
    target: Annotated[Path, typer.Option("--to", metavar="FILE", help="The eDOS store to write.")],
    data: ReservedOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Stream all electronic densities of states of the Materials Project into an eDOS store; needs no API key.

    Resumes when the same command is run again. The store is for training; given as source.edos_store, it marks which
    materials of a screen have an eDOS, and earlier predictions of these are validated against it.

    **Examples**

        mat2spec fetch edos --to mp_edos.parquet --data DATA

        mat2spec train edos --store mp_edos.parquet --encoder-weights FILE

        mat2spec screen --source materials-project --only-new --set source.edos_store=mp_edos.parquet
    """
    commands.fetch.fetch("edos", target, data, config, assignments or [])


@fetch_app.command("phdos")
def fetch_phdos(
    target: Annotated[Path, typer.Option("--to", metavar="FILE", help="The table to write.")],
    data: ReservedOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Stream all phonon densities of states of the Materials Project into a table; needs no API key.

    **Examples**

        mat2spec fetch phdos --to mp_phonons/phdos_dfpt.parquet --data DATA

        mat2spec train phdos --data mp_phonons --no-pretraining
    """
    commands.fetch.fetch("phdos", target, data, config, assignments or [])


@fetch_app.command("structures")
def fetch_structures(
    target: Annotated[Path, typer.Option("--to", metavar="FILE", help="The table of crystals to write.")],
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", metavar="STORE", help="eDOS store whose crystals are fetched; data/edos_store/."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Fetch the structures of labels that have only an id from the Materials Project; needs an API key (MP_API_KEY).

    The labels of Materials Project crystals that ship with the project hold spectra, not structures.

    **Examples**

        mat2spec fetch structures --to DATA/mp_structures.parquet

        mat2spec train edos --data DATA --store data/edos_store
    """
    commands.fetch.fetch_label_structures(target, stores or [], config, assignments or [])
