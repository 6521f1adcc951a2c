"""`mat2spec benchmark distorted` and `mat2spec benchmark subclasses`: other structures given, and other materials trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from flows.commands.benchmark import Benchmark, read_errors
from flows.commands.exits import resumable
from flows.commands.terminal import console
from mat2spec.benchmark import distortions, pretraining, subclasses
from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.error_figures import chosen_rows, draw_error_figures, error_tables
from mat2spec.benchmark.test_sets import in_order
from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.settings import GraphSettings
from mat2spec.prediction import load_predictor
from mat2spec.tables.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from mat2spec.benchmark.data import BenchmarkData


def measure_distorted(
    benchmark: Benchmark, test_set: str | None, most_sites: int, n_materials: int, unrelaxed: Path | None
) -> None:
    """Predict distorted structures of test materials with the models of a benchmark; write table, figure and Markdown.

    Parameters
    ----------
    benchmark
        Data, models, the first seed and the folder of the output.
    test_set
        Of these test materials; the first of the data by default.
    most_sites, n_materials
        Random materials, so many at most, with at most so many sites.
    unrelaxed
        Parquet table of unrelaxed structures by `material_id`.
    """
    data, seed = benchmark.data(), benchmark.first_seed()
    labelled = data.load(GraphSettings())
    labels = labelled.part(_test_set(data, test_set))
    labels = distortions.choose_materials(labels, most_sites, n_materials, seed)
    predictors = [load_predictor(name, benchmark.spectrum) for name in benchmark.model_names()]
    others = None if unrelaxed is None else Crystals.from_arrow(pq.read_table(unrelaxed))
    table = distortions.errors_on_distorted(predictors, data, labels, seed, others)
    growth = distortions.growth_table(table)
    console.print(growth, markup=False, highlight=False, soft_wrap=True)
    _write(benchmark.output, "distorted", table, distortions.summarise_distorted(table), growth)


def measure_subclasses(benchmark: Benchmark, test_set: str | None) -> None:
    """Train globally, tuned and only on the classes of the paper; write table, figure and Markdown.

    Parameters
    ----------
    benchmark
        Data, the first of its models and settings, its seeds, and the folders of trainings and output.
    test_set
        Whose materials of each class are judged; the first of the data by default.
    """
    data = benchmark.data()
    cells = benchmark.cells()
    settings = cells[0].training
    seeds = sorted({cell.training.seed for cell in cells})
    with resumable(str(benchmark.folder)):
        table = subclasses.compare_trainings(
            data, settings, seeds, benchmark.folder, lambda line: console.print(line, markup=False, highlight=False)
        )
    summary = subclasses.summarise_trainings(table, _test_set(data, test_set))
    _write(benchmark.output, "subclasses", table, summary)


def compare_origins(errors: Path, test_set: str | None, prefix: str, known: Path | None) -> None:
    """Print how much larger the errors of a table are on crystals outside of a set that descriptors were pretrained on.

    Parameters
    ----------
    errors
        The table that a benchmark writes.
    test_set
        One of the table's that has both kinds; its last by default.
    prefix
        With which identifiers of the set begin.
    known
        Parquet table with the reduced formulas of the set.
    """
    table = read_errors(errors)
    rows = chosen_rows(table, test_set or in_order(table["test_set"])[-1], [])
    formulas = () if known is None else pq.read_table(known, columns=["formula"])["formula"].to_pylist()
    found = pretraining.compare_origins(rows, prefix, formulas)
    console.print(pretraining.origins_table(found), markup=False, highlight=False, soft_wrap=True)


def _test_set(data: BenchmarkData, wanted: str | None) -> str:
    known = in_order(data.load(GraphSettings()).split)
    if wanted is not None and wanted not in known:
        raise BenchmarkError(f"There is no test set '{wanted}' in the data; choose from {', '.join(known)}.")
    return wanted or known[0]


def _write(output: Path, name: str, table: pd.DataFrame, summary: pd.DataFrame, more: str = "") -> None:
    with atomic_path(output / f"{name}.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    pictures = draw_error_figures(output, summary)
    markdown = error_tables(summary)
    with atomic_path(output / f"{name}.md") as temporary:
        temporary.write_text("\n".join(filter(None, [markdown, more])), encoding="utf-8")
    console.print(markdown, markup=False, highlight=False, soft_wrap=True)
    written = [output / f"{name}.parquet", output / f"{name}.md", *pictures]
    console.print(f"Written: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)
