"""The page of crystals that a person gave: the same lists, curves and structures as the page of a run, with a verdict each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.spectra.prediction import Prediction
from mat2spec.spectra.trust import Trust
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import to_frame
from mat2spec.tables.status import Status
from screening.choose.judgement import judge
from screening.classify.classes import ElectronicClass
from screening.classify.gapped_metals import gapped_metal_cut
from screening.report.picks import OF_DFT, picks_table, with_space_groups
from screening.report.result_page import PageContent
from screening.runs.schemas import TableName, empty_table
from screening.settings import ClassifySettings, GapSettings, SelectionSettings

# Columns of picks that only a run can fill.
OF_A_RUN = (Column.PICK_RANK, *OF_DFT)
# Odds are even.
_HALF = 0.5


def crystals_content(
    crystals: Crystals,
    predictions: Sequence[Prediction],
    gap: GapSettings,
    settings: ClassifySettings,
    source: str,
) -> PageContent:
    """What the page of some crystals shows; those that no model could predict are left out.

    Parameters
    ----------
    crystals
        With a name each, no two the same.
    predictions
        Of each model, of the same crystals in the same order; the first is the one that leads.
    gap, settings
        The rules.
    source
        A sentence about where the crystals are from.
    """
    is_predicted = [any(made.status[index] == Status.OK for made in predictions) for index in range(len(crystals))]
    ids = crystals.material_ids[is_predicted].tolist()
    candidates, classes, rows = judge(crystals, predictions, gap, settings)
    jobs = to_frame(empty_table(TableName.DFT_JOBS))
    jobs = jobs.reindex(range(len(ids))).assign(**{Column.MATERIAL_ID: ids, Column.STATUS: "", Column.REASON: ""})
    picks = picks_table(candidates, classes, rows, jobs, None, SelectionSettings())
    picks = _of_leader(picks[picks[Column.MATERIAL_ID].isin(ids)].reset_index(drop=True), classes, predictions[0].model)
    verdicts = _verdicts(classes, rows, predictions[0].model, gapped_metal_cut(gap))
    picks = picks.assign(verdict=[verdicts[name] for name in picks[Column.MATERIAL_ID]])
    order = picks[Column.MATERIAL_ID].map({name: index for index, name in enumerate(ids)}).argsort()
    picks = picks.iloc[order].reset_index(drop=True)
    shown = crystals.take(pd.Index(crystals.material_ids).get_indexer(pd.Index(picks[Column.MATERIAL_ID])))
    return PageContent(
        run_id="",
        created="",
        source=source,
        picks=with_space_groups(picks, shown).drop(columns=list(OF_A_RUN)).assign(choice=""),
        classifications=classes,
        predictions=rows,
        results=to_frame(empty_table(TableName.DFT_RESULTS)),
        precision_recall=to_frame(empty_table(TableName.PRECISION_RECALL)),
        curve=to_frame(empty_table(TableName.THRESHOLD_CURVE)),
        filter_counts=to_frame(empty_table(TableName.FILTER_COUNTS)),
        crystals=shown,
        gap=gap,
        grid=predictions[0].grid,
        of_files=True,
    )


def _of_leader(picks: pd.DataFrame, classes: pd.DataFrame, leader: str) -> pd.DataFrame:
    """The picks with classes and properties of the leading model, where it could predict."""
    own = classes[(classes[Column.MODEL] == leader) & classes[Column.IS_METAL].notna()].set_index(Column.MATERIAL_ID)
    picks = picks.set_index(Column.MATERIAL_ID)
    own = own[[name for name in own.columns if name in picks.columns]]
    flags = {str(name): own[name].fillna(value=False) for name in own.select_dtypes("boolean").columns}
    own = own.assign(**flags).astype(picks[own.columns].dtypes)
    picks.loc[own.index, own.columns] = own
    return picks.reset_index()


def _verdicts(classes: pd.DataFrame, rows: pd.DataFrame, leader: str, cut: float) -> dict[str, str]:
    """One verdict of each material, from what all models say and how far the leading one is to be trusted."""
    joined = classes.merge(
        rows[[Column.MATERIAL_ID, Column.MODEL, Column.DOMAIN_DISTANCE]], on=[Column.MATERIAL_ID, Column.MODEL]
    )
    return {
        str(name): describe_verdict(group.to_dict("records"), leader, cut)
        for name, group in joined.groupby(Column.MATERIAL_ID, sort=False)
    }


def describe_verdict(rows: Sequence[Mapping[Any, Any]], leader: str, cut: float) -> str:
    """The kind of a material by the leading model, or "unsure" with the reasons.

    A gapped metal whose probability reaches the cut but not one half is unsure: it is more likely to be none.

    Parameters
    ----------
    rows
        What each model says of it: rows of `classifications` with `domain_distance`.
    leader
        Name of the most accurate model.
    cut
        Confidence from which a material is called a gapped metal.
    """
    judged = [row for row in rows if pd.notna(row[Column.IS_METAL])]
    if not judged:
        return "unsure: no model could predict it"
    first = next((row for row in judged if row[Column.MODEL] == leader), judged[0])
    gapped = first[Column.IS_GAPPED_METAL] is True
    electronic_class = first.get(Column.ELECTRONIC_CLASS) or ElectronicClass.METAL
    is_open = electronic_class == ElectronicClass.UNSURE
    kind = "not a gapped metal" if is_open else f"{electronic_class}, not a gapped metal"
    kind = "gapped metal" if gapped else kind
    doubts = ["whether it is a metal is open"] if is_open else []
    confidence = first[Column.GAPPED_METAL_CONFIDENCE]
    if cut <= confidence < _HALF:
        doubts.append(f"the confidence of {first[Column.MODEL]} is {confidence:.2f}")
    distance = first.get(Column.DOMAIN_DISTANCE)
    if first.get(Column.TRUST) == Trust.OUTSIDE:
        doubts.append(f"it is outside of what {first[Column.MODEL]} knows")
    elif pd.notna(distance) and distance > 1:
        doubts.append("the crystal is unlike those that it was trained on")
    if first[Column.MODEL] != leader:
        doubts.append(f"{leader} could not predict it")
    others = [row[Column.MODEL] for row in judged if (row[Column.IS_GAPPED_METAL] is True) != gapped]
    if gapped and others:
        doubts.append(f"{' and '.join(others)} {'does' if len(others) == 1 else 'do'} not agree")
    return f"unsure: perhaps {kind}; {' and '.join(doubts)}" if doubts else kind
