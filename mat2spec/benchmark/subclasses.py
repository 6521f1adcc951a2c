"""Training for a class of materials: on all materials, on all and then on the class, or on the class only.

The subclass fine-tuning of the Mat2Spec paper (figures S8 and S9), with its two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from pymatgen.core import Element

from mat2spec.benchmark.data import BenchmarkData
from mat2spec.benchmark.ensembles import Judged, evaluate_weights
from mat2spec.benchmark.error_figures import LABEL, averaged_over_seeds, summarise_groups
from mat2spec.benchmark.error_table import error_table
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.splits import Split
from mat2spec.training.options import TrainingOptions
from mat2spec.training.runs import adapt_graphs, run_training, starting_settings
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.subclass import Subclass, select

GLOBAL, TUNED, ONLY = "global", "tuned", "only"
SUBCLASS = "subclass"
_RARE_EARTHS = tuple(sorted(element.symbol for element in Element if element.is_rare_earth))
CLASSES = {
    "ternary oxides": Subclass(elements=("O",), exclude_elements=_RARE_EARTHS, n_elements=3),
    "space group 225": Subclass(space_group=225),
}


def compare_trainings(
    data: BenchmarkData,
    settings: TrainingSettings,
    seeds: Sequence[int],
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Train in all ways and judge each on the test materials of its class.

    Parameters
    ----------
    data
        The labels.
    settings
        Model, setting and epochs of every training; fine-tuning takes a fifth of the learning rate.
    seeds
        Of the trainings.
    folder
        A subfolder for each training; finished ones are not repeated.
    say
        Called with a line before each training.

    Returns
    -------
    DataFrame
        Rows as in `mat2spec.benchmark.error_table.error_table`, with the way of training as ``contender``, and ``subclass``.
    """
    settings = adapt_graphs(settings)
    labelled = data.load(settings.graph)
    plain = data.load(GraphSettings())
    parts = []
    for seed in seeds:
        own = settings.model_copy(update={"seed": seed})
        on_all = folder / f"{GLOBAL}-seed{seed}"
        say(f"{on_all.name}: {(labelled.split == Split.TRAIN).sum()} training materials")
        whole = run_training(labelled, own, on_all)
        for name, subclass in CLASSES.items():
            of_class = select(labelled, subclass)
            tuned = starting_settings(own, TrainingOptions(fine_tune_from=whole))
            places = {way: folder / f"{way}-{name.replace(' ', '-')}-seed{seed}" for way in (TUNED, ONLY)}
            say(f"{name}: {(of_class.split == Split.TRAIN).sum()} training materials")
            weights = {
                GLOBAL: whole,
                TUNED: run_training(of_class, tuned, places[TUNED], fine_tune_from=whole),
                ONLY: run_training(of_class, own, places[ONLY]),
            }
            judged = [_of_seed(evaluate_weights(way, [path], data), seed) for way, path in weights.items()]
            table = error_table(judged, data).assign(**{SUBCLASS: name})
            parts.append(table[table["material_id"].isin(select(plain, subclass).material_ids)])
    return pd.concat(parts, ignore_index=True)


def summarise_trainings(table: pd.DataFrame, test_set: str) -> pd.DataFrame:
    """Mean error over seeds and materials of each way of training on each class."""
    rows = []
    for name, of_class in table[table["test_set"] == test_set].groupby(SUBCLASS, sort=False):
        averaged = averaged_over_seeds(of_class)
        averaged[LABEL] = averaged["contender"]
        rows.append(summarise_groups(SUBCLASS, SUBCLASS, averaged, pd.Series(str(name), index=averaged.index)))
    return pd.concat(rows, ignore_index=True)


def _of_seed(judged: Judged, seed: int) -> Judged:
    return judged._replace(result=judged.result | {"seed": seed})
