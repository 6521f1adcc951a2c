"""A screen without a run folder: from crystals to picks in Python.

import screening

found = screening.screen(structures)
print(found.picks)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from mat2spec.crystals.given import CrystalLike, crystals_given
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.settings import EDOS_MODELS
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import to_frame
from screening.choose.judgement import judge
from screening.report.picks import OF_DFT, picks_table, with_space_groups
from screening.runs.schemas import TableName, empty_table
from screening.settings import ClassifySettings, GapSettings, SelectionSettings


@dataclass(frozen=True)
class Screened:
    """What a screen found; the tables are those of a run folder.

    Parameters
    ----------
    picks
        One row per material that any model calls a hit, by decreasing `consensus_confidence`.
    classifications
        One row per crystal and model.
    predictions
        The same with the spectra, or the reason why one is missing.
    """

    picks: pd.DataFrame
    classifications: pd.DataFrame
    predictions: pd.DataFrame


def screen(
    crystals: CrystalLike | Iterable[object],
    models: Sequence[str] = EDOS_MODELS,
    material_ids: Sequence[str] | None = None,
    gap: GapSettings | None = None,
    settings: ClassifySettings | None = None,
    device: str = "auto",
) -> Screened:
    """Predict, classify and rank crystals; nothing is written and nothing computed by DFT.

    Parameters
    ----------
    crystals
        pymatgen structures or ASE Atoms, one or many; anything else becomes a failed prediction with its reason.
    models
        Models to predict with; the first leads.
    material_ids
        A distinct name for each crystal.
    gap, settings
        The rule of a gap, and what counts as a hit; the defaults if not given.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises
    ------
    ValueError
        If two crystals have the same name, or there are not as many names as crystals.
    """
    settings = settings or ClassifySettings()
    given, _ = crystals_given(crystals, material_ids)
    if len(set(given.material_ids)) < len(given):
        raise ValueError("Two crystals have the same material_id; give each a distinct name.")
    made = predict_with_models([load_predictor(model, device=device) for model in models], given)
    candidates, table, predictions = judge(given, made, gap, settings)
    jobs = to_frame(empty_table(TableName.DFT_JOBS))
    picks = picks_table(candidates, table, predictions, jobs, None, SelectionSettings()).drop(columns=list(OF_DFT))
    rows = pd.Index(given.material_ids).get_indexer(pd.Index(picks[Column.MATERIAL_ID]))
    return Screened(with_space_groups(picks, given.take(rows)), table, predictions)
