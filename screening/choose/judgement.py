"""Crystals in memory, judged by models: their tables without a run folder."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.prediction import Prediction
from mat2spec.tables.columns import Column
from screening.choose.selection import with_consensus
from screening.classify.classes import classify, mark_targets
from screening.classify.materials import Materials
from screening.classify.metals import MetalEvidence
from screening.settings import ClassifySettings, GapSettings
from screening.sources.base import properties_of


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
    return candidates, with_consensus(table, settings.rank_by), predictions
