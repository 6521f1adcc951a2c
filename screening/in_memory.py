"""A screen without a run folder: from crystals to picks in Python.

import screening

found = screening.screen(structures)
print(found.picks)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.given import CrystalLike, crystals_given
from mat2spec.prediction import load_predictor, predict_with_models
from mat2spec.settings import EDOS_MODELS
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import to_frame
from screening.choose.selection import consensus
from screening.classify.classes import classify, mark_targets
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.report.picks import picks_table, with_space_groups
from screening.runs.schemas import TableName, empty_table
from screening.settings import ClassifySettings, GapSettings, SelectionSettings
from screening.sources.base import properties_of

# Columns that only a run with DFT can fill.
OF_DFT = (
    Column.CHOICE,
    Column.DFT_STATUS,
    Column.DFT_REASON,
    Column.DFT_VERDICT,
    Column.DFT_GAP_TOP_EV,
    Column.DFT_GAP_BOTTOM_EV,
    Column.DFT_GAP_WIDTH_EV,
    Column.DFT_GAP_OPEN_AT_BOTTOM,
)


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


def judge(
    crystals: Crystals, made: Sequence[Prediction], gap: GapSettings | None, settings: ClassifySettings
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The tables `candidates`, `classifications` and `predictions` of crystals and what models predict of them."""
    candidates, materials = properties_of(crystals), Materials.of_crystals(crystals)
    predictions = pd.concat([prediction.to_frame() for prediction in made], ignore_index=True)
    keys = predictions[[str(Column.MATERIAL_ID), str(Column.MODEL), str(Column.TRUST)]]
    classes = [
        classify(each.spectra, materials, gap, settings, each.uncertainty, evidence=MetalEvidence.of_prediction(each))
        for each in made
    ]
    table = pd.concat([keys, pd.concat(classes, ignore_index=True)], axis=1)
    table = mark_targets(table, candidates, settings.target)
    number = consensus(table, settings.rank_by)
    return candidates, table.assign(**{Column.CONSENSUS_CONFIDENCE: number}), predictions
