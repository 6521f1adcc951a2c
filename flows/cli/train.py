"""The commands `mat2spec train ...`: their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import ConfigOption, LabelsOption, LevelOption, SetOption, SourceOption, StoresOption
from mat2spec.settings import Level

train_app = typer.Typer(no_args_is_help=True, help="Train the models.")

ShippedOption = Annotated[
    bool,
    typer.Option("--shipped-store/--no-shipped-store", help="Also train on the labels that ship with the project."),
]
TrainingFolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder for checkpoint, curves and weights; a rerun resumes there.")
]
FineTuneOption = Annotated[
    Path | None,
    typer.Option(
        "--fine-tune-from", metavar="WEIGHTS", help="Start from these weights, with a fifth of the learning rate."
    ),
]
ElementsOption = Annotated[
    str | None, typer.Option("--elements", help="Only materials with all of these, e.g. O or Sr,O.")
]
ExcludeOption = Annotated[str | None, typer.Option("--exclude-elements", help="Only materials with none of these.")]
NElementsOption = Annotated[
    int | None, typer.Option("--n-elements", min=1, help="Only materials with this many elements.")
]
SpaceGroupOption = Annotated[
    int | None, typer.Option("--space-group", min=1, max=230, help="Only materials of this space group.")
]
LearningCurveOption = Annotated[
    str | None,
    typer.Option(
        "--learning-curve", metavar="PARTS", help="Train on fractions of the training split, e.g. 0.1,0.25,0.5,1."
    ),
]


@train_app.command("phdos")
def train_phdos(
    data: SourceOption,
    folder: TrainingFolderOption = None,
    pretraining: Annotated[bool, typer.Option(help="Add the large finite-displacement set of a data folder.")] = True,
    fine_tune_from: FineTuneOption = None,
    elements: ElementsOption = None,
    exclude_elements: ExcludeOption = None,
    n_elements: NElementsOption = None,
    space_group: SpaceGroupOption = None,
    learning_curve: LearningCurveOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Train a model on phonon densities of states; eDOS training starts from its encoder.

    **Examples**

        mat2spec train phdos --data ../data

        mat2spec train phdos --data ../data --set model=gatgnn --set epochs=50

        mat2spec train phdos --data Mat2Spec_DATA --learning-curve 0.1,0.25,0.5,1
    """
    options = commands.train.training_options(
        fine_tune_from, learning_curve, elements, exclude_elements, n_elements=n_elements, space_group=space_group
    )
    commands.train.train("phdos", data, folder, config, assignments or [], pretraining=pretraining, options=options)


@train_app.command("edos")
def train_edos(
    data: LabelsOption = None,
    folder: TrainingFolderOption = None,
    encoder: Annotated[
        Path | None, typer.Option("--encoder-weights", metavar="FILE", help="Weights file whose encoder to start from.")
    ] = None,
    stores: StoresOption = None,
    level: LevelOption = Level.UNPOLARISED,
    shipped_store: ShippedOption = True,
    materials_class: Annotated[
        str | None,
        typer.Option(
            "--materials-class", metavar="NAME", help="Material class of the archive that has its own index files."
        ),
    ] = None,
    fine_tune_from: FineTuneOption = None,
    elements: ElementsOption = None,
    exclude_elements: ExcludeOption = None,
    n_elements: NElementsOption = None,
    space_group: SpaceGroupOption = None,
    learning_curve: LearningCurveOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Train a model on electronic densities of states, from an encoder trained on phonons.

    Labels come from the data folder and the eDOS stores; without a folder, the store that ships with
    the project is enough. All materials of one formula are in the same split. Any other source is used
    alone, with its own split.

    **Examples**

        mat2spec train edos --data ../data --encoder-weights runs/mat2spec-phdos-sumnorm-kl/mat2spec-phdos-sumnorm-kl.safetensors

        mat2spec train edos --data ../data --set setting=standard-mae

        mat2spec train edos --store my_labels.parquet

        mat2spec train edos --data ../data --level mp

        mat2spec train edos --data Mat2Spec_DATA --fine-tune-from edos.safetensors --elements O --n-elements 3
    """
    options = commands.train.training_options(
        fine_tune_from,
        learning_curve,
        elements,
        exclude_elements,
        n_elements=n_elements,
        space_group=space_group,
        materials_class=materials_class,
        level=level,
    )
    all_stores = commands.train.edos_stores(stores or [], shipped=shipped_store)
    commands.train.train(
        "edos", data, folder, config, assignments or [], encoder_weights=encoder, stores=all_stores, options=options
    )


@train_app.command("tight-binding")
def train_tight_binding(
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="MAT2SPEC_DATA_DIR", help="Data folder; by default only eDOS stores."),
    ] = None,
    folder: TrainingFolderOption = None,
    stores: StoresOption = None,
    level: LevelOption = Level.UNPOLARISED,
    shipped_store: ShippedOption = True,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Train the tight-binding model on electronic densities of states, one ensemble member after the other.

    At level mp the model has spin and also learns from labels without spin. Each member takes two to
    four minutes on one core for 850 labels. Every epoch is kept, so a second call resumes.

    **Examples**

        mat2spec train tight-binding --data ../data

        mat2spec train tight-binding --data ../data --level mp --folder runs/mp

        mat2spec train tight-binding --data ../data --set model.n_members=2 --set epochs=8
    """
    all_stores = commands.train.edos_stores(stores or [], shipped=shipped_store)
    commands.train.train_tight_binding(data, folder, config, assignments or [], all_stores, level)
