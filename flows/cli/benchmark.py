"""The commands `mat2spec benchmark ...`: their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import commands
from flows.cli.options import LabelsOption, LevelOption, SetOption, SourceOption, StoresOption
from mat2spec.settings import Level

benchmark_app = typer.Typer(no_args_is_help=True, help="Measure the models on public benchmarks.")

ModelsOption = Annotated[str, typer.Option("--models", help="Models or recipes, separated by commas.")]
SettingsOption = Annotated[str, typer.Option("--settings", help="Settings, separated by commas.")]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.")]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Epochs of each training; those of the recipe by default.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu or cuda; short for --set accelerator=...")
]
FolderOption = Annotated[
    Path, typer.Option("--folder", help="Folder with a subfolder for each training; a rerun resumes there.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where the JSON file, table and plot go.")]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="NAME=FILE,...", help="Evaluate saved weights too; several form an ensemble."),
]
ShippedOption = Annotated[bool, typer.Option("--shipped", help="Evaluate the shipped weights too.")]
PlotOption = Annotated[
    str | None,
    typer.Option("--plot", metavar="MODEL/SETTING", help="Model whose quintiles to plot; the best one by default."),
]
OnlyReportOption = Annotated[bool, typer.Option("--only-report", help="Train nothing; report what is finished.")]
TestSetOption = Annotated[str | None, typer.Option("--test-set", help="Test set; the first by default.")]


@benchmark_app.command("phdos")
def benchmark_phdos(
    data: SourceOption,
    models: ModelsOption = "e3nn,gatgnn,mat2spec",
    settings: SettingsOption = "maxnorm-mse,sumnorm-wd,sumnorm-kl",
    seeds: SeedsOption = "0,1,2",
    epochs: EpochsOption = None,
    device: DeviceOption = None,
    folder: FolderOption = Path("runs/benchmark-phdos"),
    output: OutputOption = Path("benchmarks/phdos"),
    weights: WeightsOption = None,
    shipped: ShippedOption = False,
    plot: PlotOption = None,
    only_report: OnlyReportOption = False,
    assignments: SetOption = None,
) -> None:
    """Train each model in each setting with each seed on phonon spectra, and print the table.

    Finished trainings are never repeated, interrupted ones resume, and those running in another process are
    left alone, so several processes may share a folder. On the paper's archive this is its Table 1.

    **Examples**

        mat2spec benchmark phdos --data ../data

        mat2spec benchmark phdos --data ../data --models mat2spec,mat2spec-no-alignment --settings sumnorm-kl

        mat2spec benchmark phdos --data ../data --only-report --weights ours=a.safetensors,b.safetensors

        mat2spec benchmark phdos --data ../data --models mat2spec-published,mat2spec-mixture --device cuda

        mat2spec benchmark phdos --data Mat2Spec_DATA --output table-1 --folder runs/table-1
    """
    given = _assigned(assignments, epochs=epochs, accelerator=device)
    commands.benchmark.run_benchmark(
        commands.benchmark.Benchmark(
            "phdos", data, folder, output, models, settings, seeds, given, weights or [], shipped, plot
        ),
        only_report=only_report,
    )


@benchmark_app.command("edos")
def benchmark_edos(
    data: LabelsOption = None,
    stores: StoresOption = None,
    level: LevelOption = Level.UNPOLARISED,
    models: ModelsOption = "e3nn,gatgnn,mat2spec",
    settings: SettingsOption = "standard-mae,sumnorm-wd,sumnorm-kl",
    seeds: SeedsOption = "0",
    epochs: EpochsOption = None,
    device: DeviceOption = None,
    folder: FolderOption = Path("runs/benchmark-edos"),
    output: OutputOption = Path("benchmarks/edos"),
    weights: WeightsOption = None,
    shipped: ShippedOption = False,
    plot: PlotOption = None,
    only_report: OnlyReportOption = False,
    assignments: SetOption = None,
) -> None:
    """Train each model in each setting with each seed on electronic densities of states, and print the table.

    A shape gets its blind scale from the same model and seed in the setting standard-mae. On the paper's archive
    this is its Table 2, with the scores of gapped metals.

    **Examples**

        mat2spec benchmark edos --data ../data

        mat2spec benchmark edos --data ../data --only-report --shipped

        mat2spec benchmark edos --data ../data --level mp

        mat2spec benchmark edos --data ../data --only-report --weights mine=shape.safetensors,scale.safetensors

        mat2spec benchmark edos --data Mat2Spec_DATA --output table-2 --folder runs/table-2
    """
    given = _assigned(assignments, epochs=epochs, accelerator=device)
    all_stores = commands.benchmark.compared_stores(stores or [], level)
    commands.benchmark.run_benchmark(
        commands.benchmark.Benchmark(
            "edos",
            data,
            folder,
            output,
            models,
            settings,
            seeds,
            given,
            weights or [],
            shipped,
            plot,
            all_stores,
            level,
        ),
        only_report=only_report,
    )


@benchmark_app.command("figures")
def benchmark_figures(
    errors: Annotated[Path, typer.Argument(help="errors.parquet of a benchmark.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the figures go; beside the table by default.")
    ] = None,
    models: Annotated[
        str, typer.Option("--models", metavar="MODEL/SETTING,...", help="Which rows; all by default.")
    ] = "",
    test_set: TestSetOption = None,
) -> None:
    """Draw what the errors of a benchmark go with, and write the numbers as Markdown.

    Error against elements, sites, similar training materials, Fourier components and subclass, and the error of every
    model in the quintiles of each.

    **Examples**

        mat2spec benchmark figures benchmarks/edos/errors.parquet

        mat2spec benchmark figures benchmarks/phdos/errors.parquet --models shipped-sitedos/sumnorm-kl,shipped-e3nn/sumnorm-kl
    """
    commands.benchmark.draw_errors(errors, output or errors.parent, models, test_set)


@benchmark_app.command("distorted")
def benchmark_distorted(
    data: LabelsOption = None,
    stores: StoresOption = None,
    level: LevelOption = Level.UNPOLARISED,
    models: Annotated[str, typer.Option("--models", help="Models as shipped, separated by commas.")] = (
        "tight-binding,sitedos,mat2spec"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the choice and of the distortions.")] = 0,
    n_materials: Annotated[int, typer.Option("-n", min=1, help="Number of test materials.")] = 60,
    most_sites: Annotated[int, typer.Option("--max-sites", min=1, help="Maximum number of sites of each.")] = 12,
    unrelaxed: Annotated[
        Path | None,
        typer.Option("--unrelaxed", help="Parquet table of unrelaxed structures of these materials, by material_id."),
    ] = None,
    test_set: TestSetOption = None,
    output: OutputOption = Path("benchmarks/distorted"),
) -> None:
    """Give models strained, rattled and, where there are some, unrelaxed structures of test materials.

    The labels stay those of the relaxed structures: what does a screen lose whose crystals are not relaxed?

    **Examples**

        mat2spec benchmark distorted --data ../data

        mat2spec benchmark distorted --data ../data --level mp --models tight-binding-mp --unrelaxed initial.parquet
    """
    all_stores = commands.benchmark.compared_stores(stores or [], level)
    benchmark = commands.benchmark.Benchmark(
        "edos", data, output, output, models, "sumnorm-kl", str(seed), stores=all_stores, level=level
    )
    commands.benchmark_variants.measure_distorted(benchmark, test_set, most_sites, n_materials, unrelaxed)


@benchmark_app.command("subclasses")
def benchmark_subclasses(
    data: LabelsOption = None,
    stores: StoresOption = None,
    level: LevelOption = Level.UNPOLARISED,
    model: Annotated[str, typer.Option("--model", help="Model or recipe.")] = "mat2spec",
    setting: Annotated[str, typer.Option("--setting", help="Setting.")] = "sumnorm-kl",
    seeds: SeedsOption = "0",
    epochs: EpochsOption = None,
    device: DeviceOption = None,
    folder: FolderOption = Path("runs/benchmark-subclasses"),
    test_set: TestSetOption = None,
    output: OutputOption = Path("benchmarks/subclasses"),
    assignments: SetOption = None,
) -> None:
    """Train on all materials, on all and then on a class with a fifth of the learning rate, and on the class only.

    The classes are those of the Mat2Spec paper, ternary oxides without rare earths and space group 225; each training is
    judged on the test materials of the class.

    **Examples**

        mat2spec benchmark subclasses --data ../data --seeds 0,1,2
    """
    given = _assigned(assignments, epochs=epochs, accelerator=device)
    all_stores = commands.train.edos_stores(stores or [])
    benchmark = commands.benchmark.Benchmark(
        "edos", data, folder, output, model, setting, seeds, given, stores=all_stores, level=level
    )
    commands.benchmark_variants.measure_subclasses(benchmark, test_set)


@benchmark_app.command("pretraining")
def benchmark_pretraining(
    errors: Annotated[Path, typer.Argument(help="errors.parquet of a benchmark.")],
    test_set: Annotated[
        str | None, typer.Option("--test-set", help="Test set with materials of both kinds; the last by default.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="With which identifiers of the set begin.")] = "mp-",
    known: Annotated[
        Path | None,
        typer.Option("--known", help="Parquet table with the column formula: other crystals of these are left out."),
    ] = None,
) -> None:
    """Compare errors on crystals that descriptors may have been pretrained on with those on others, at equal composition.

    **Examples**

        mat2spec benchmark pretraining benchmarks/edos/errors.parquet --known ../data/mp_structures.parquet
    """
    commands.benchmark_variants.compare_origins(errors, test_set, prefix, known)


def _assigned(assignments: list[str] | None, **short: float | str | None) -> list[str]:
    """Settings of all trainings, including the short options."""
    return [*(assignments or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
