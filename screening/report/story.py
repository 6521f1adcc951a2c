"""What happened to one material in a run, in sentences: filtered, predicted, chosen, computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow.compute as pc

from mat2spec.crystals.material_ids import spelled_as_in
from mat2spec.crystals.primitive import CellSizes
from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true, to_frame
from mat2spec.tables.status import Status
from mat2spec.tables.text import counted
from screening.choose.selection import outside_of_all_models, rank_by_consensus, target_of
from screening.classify.classes import ElectronicClass
from screening.classify.metals import DecidedBy
from screening.report.picks import FROM_PREDICTIONS, GAPPED_METAL, describe_choice, dft_verdict
from screening.report.wording import TargetWords, target_of_run
from screening.runs.contents import RunTables
from screening.runs.record import RunError
from screening.runs.schemas import TableName
from screening.settings import SelectionSettings

MOST_NAMED = 10
Row = Mapping[Any, Any]


def tell_story(run: RunTables, material: str) -> list[str]:
    """What happened to a material in a run.

    Parameters
    ----------
    run
        The run.
    material
        Identifier, or a reduced formula that only one of its materials has.

    Raises
    ------
    RunError
        If the run has no such material, or several of that formula.
    """
    candidates = run.read_table(TableName.CANDIDATES)
    removed = run.read_table(TableName.REMOVED) if run.has_table(TableName.REMOVED) else candidates[:0]
    material_id = find_material(run, material, candidates, removed)
    gone = _row(removed, material_id)
    if gone:
        return [_say_what(gone), *_say_removed(gone)]
    candidate = _row(candidates, material_id)
    return [_say_what(candidate), *_of_candidate(run, candidate, candidates)]


def find_material(run: RunTables, material: str, candidates: pd.DataFrame, removed: pd.DataFrame) -> str:
    """The identifier meant by the user; raises as `tell_story`."""
    names = [str(Column.MATERIAL_ID), str(Column.FORMULA)]
    known = pd.concat([candidates[names], removed[names]], ignore_index=True)
    if material in set(known[Column.MATERIAL_ID]):
        return material
    (spelled,) = spelled_as_in(known[Column.MATERIAL_ID], [material])
    if spelled != material:
        return spelled
    same = known.loc[known[Column.FORMULA] == material, Column.MATERIAL_ID].tolist()
    if len(same) == 1:
        return str(same[0])
    if same:
        more = f" and {len(same) - MOST_NAMED} more" if len(same) > MOST_NAMED else ""
        raise RunError(
            f"{len(same)} materials of the run {run.run_id} are {material}: {', '.join(same[:MOST_NAMED])}{more}. "
            "Give the identifier of one of them."
        )
    looked_at = "" if run.has_table(TableName.REMOVED) else " (it kept only those that passed its filters)"
    raise RunError(
        f"The run {run.run_id} has no material '{material}'{looked_at}: it is not in the source, or the source itself "
        "left it out. `mat2spec tables candidates` shows the identifiers."
    )


def _of_candidate(run: RunTables, candidate: Row, candidates: pd.DataFrame) -> Iterator[str]:
    material_id = candidate[Column.MATERIAL_ID]
    n_primitive = int(CellSizes.of_rows(pd.DataFrame([candidate])).n_primitive[0])
    yield "It passed all filters."
    yield from _say_change(run, material_id)
    if not run.has_table(TableName.CLASSIFICATIONS):
        yield "The run stopped before its spectrum was classified."
        return
    classes = run.read_table(TableName.CLASSIFICATIONS)
    predictions = _predictions(run, material_id)
    own = classes[classes[Column.MATERIAL_ID] == material_id]
    for row in own.sort_values(Column.MODEL).to_dict("records"):
        yield _say_model(row, predictions.get(row[Column.MODEL], {}))
    yield from _say_rank(classes, material_id, candidates, target_of_run(run.info))
    yield from _say_dft(run, material_id, n_primitive, own)


def _predictions(run: RunTables, material_id: str) -> dict[str, dict[Any, Any]]:
    """Row of every model's prediction, without the spectra."""
    wanted = (Column.MODEL, Column.STATUS, *FROM_PREDICTIONS)
    known = run.column_names(TableName.PREDICTIONS)
    columns = [str(name) for name in (Column.MATERIAL_ID, *wanted) if name in known]
    table = run.read_arrow(TableName.PREDICTIONS, columns)
    rows = to_frame(table.filter(pc.equal(table[Column.MATERIAL_ID], material_id)))
    return {row[Column.MODEL]: row for row in rows.to_dict("records")}


def _say_what(row: Row) -> str:
    words = [f"{row[Column.FORMULA]}, {row[Column.MATERIAL_ID]}: {_sites(row[Column.NSITES])}"]
    if _known(row.get(Column.ENERGY_ABOVE_HULL)):
        words.append(f"{row[Column.ENERGY_ABOVE_HULL]:.3f} eV/atom above the hull")
    if _known(row.get(Column.BAND_GAP)):
        words.append(f"band gap {row[Column.BAND_GAP]:.2f} eV")
    return ", ".join(words) + "."


def _say_removed(row: Row) -> Iterator[str]:
    unknown = ": its value for this filter is not known" if row[Column.VALUE_UNKNOWN] else ""
    reason = row.get(Column.REASON)
    why = f" {reason}" if isinstance(reason, str) and reason else ""
    yield f"It was not predicted: the filter '{row[Column.FILTER]}' removed it{unknown}.{why}"


def _say_change(run: RunTables, material_id: str) -> Iterator[str]:
    if run.has_table(TableName.CHANGES):
        change = _row(run.read_table(TableName.CHANGES), material_id)
        if change:
            previous = change.get(Column.FORMER_RUN_ID)
            since = f"; the run {previous} screened it before" if isinstance(previous, str) else ""
            yield f"Compared with previous runs: {change[Column.CHANGE]}{since}."


def _say_model(row: Row, prediction: Row) -> str:
    model = row[Column.MODEL]
    if prediction.get(Column.STATUS, Status.OK) != Status.OK:
        return f"{model} could not predict it: {prediction[Column.REASON]}"
    return f"{model}: {'; '.join([describe_class(row), *describe_risk(row), *describe_trust(prediction)])}."


def describe_risk(row: Row) -> list[str]:
    """Why a metal may be a false one; nothing if there is no reason."""
    risk, reason = row.get(Column.FALSE_METAL_RISK), row.get(Column.FALSE_METAL_REASON)
    is_named = isinstance(reason, str) and reason
    return [f"{risk} risk of a false metal: {str(reason).replace('; ', ', ')}"] if is_named else []


def describe_trust(prediction: Row) -> list[str]:
    """How far a prediction can be trusted: verdict, expected error, distance to the training crystals, its note."""
    notes = []
    verdict = prediction.get(Column.TRUST)
    if isinstance(verdict, str):
        why = prediction.get(Column.TRUST_REASON)
        notes.append(f"trust: {verdict}" + (f", {why}" if isinstance(why, str) and why else ""))
    if _known(prediction.get(Column.RELATIVE_ERROR)):
        notes.append(f"expected error {prediction[Column.RELATIVE_ERROR]:.0%} of the spectrum")
    if _known(prediction.get(Column.DOMAIN_DISTANCE)):
        far = " (unlike its training crystals)" if prediction[Column.DOMAIN_DISTANCE] > 1 else ""
        notes.append(f"domain distance {prediction[Column.DOMAIN_DISTANCE]:.2f}{far}")
    note = prediction.get(Column.REASON)
    return [*notes, note.rstrip(".")] if isinstance(note, str) and note else notes


def describe_class(row: Row) -> str:
    """The class of a spectrum in words, with the confidence: "insulator, not a gapped metal: ..."."""
    confidence = f"confidence {row[Column.GAPPED_METAL_CONFIDENCE]:.2f}"
    # Tables of older runs have no electronic class.
    kind = row.get(Column.ELECTRONIC_CLASS)
    unsure = kind == ElectronicClass.UNSURE
    if row[Column.IS_GAPPED_METAL] is True:
        hedge = f"unsure whether a metal ({row[Column.METAL_CONFIDENCE]:.0%}); if so, a " if unsure else ""
        return f"{hedge}gapped metal with a gap {describe_gap(row)} ({confidence})"
    if row[Column.BELOW_THRESHOLD_EVERYWHERE] is True:
        return "not a gapped metal: the whole spectrum is below the threshold"
    is_metal = row[Column.IS_METAL] is True
    # The probability that leaves it open is said at once.
    is_said = unsure and row.get(Column.METAL_BY) == DecidedBy.BOTH
    reasons = [] if is_metal or is_said else [_why_no_metal(row)]
    if row[Column.HAS_VB_GAP] is not True:
        has_any = _known(row[Column.GAP_TOP_EV])
        reasons.append(f"its widest gap is {describe_gap(row)}" if has_any else "it has no gap below E_F")
    elif not reasons:
        reasons.append(f"its gap, {describe_gap(row)}, is not probable enough")
    kind = kind or ("metal" if is_metal else "not a metal")
    if unsure:
        kind = f"unsure whether a metal ({row[Column.METAL_CONFIDENCE]:.0%})"
    return f"{kind}, not a gapped metal: {' and '.join(reasons)} ({confidence})"


def _why_no_metal(row: Row) -> str:
    decided_by = row.get(Column.METAL_BY)
    if decided_by == DecidedBy.BAND_GAP:
        return "its source knows a band gap"
    if decided_by == DecidedBy.BOTH:
        return f"the probability of a metal is {row[Column.METAL_CONFIDENCE]:.0%} by spectrum and metal head"
    return f"its DOS above E_F falls to {row[Column.DOS_ABOVE_EFERMI]:.2f} states/eV"


def describe_gap(row: Row) -> str:
    """Width and position of a gap: "at least 3.46 eV wide, top at -0.57 eV"."""
    least = "at least " if row.get(Column.GAP_OPEN_AT_BOTTOM) is True else ""
    return f"{least}{row[Column.GAP_WIDTH_EV]:.2f} eV wide, top at {row[Column.GAP_TOP_EV]:+.2f} eV"


def _say_rank(classes: pd.DataFrame, material_id: str, candidates: pd.DataFrame, words: TargetWords) -> Iterator[str]:
    ranked = rank_by_consensus(classes)
    ids = ranked[Column.MATERIAL_ID].tolist()
    if material_id not in ids:
        searched = f": the run searches for {words.condition}" if words.condition else ""
        yield f"No model calls it {words.singular}{searched}."
        return
    place = ids.index(material_id)
    models = classes[Column.MODEL].unique()
    confidence = ranked[Column.CONSENSUS_CONFIDENCE].iloc[place]
    certainty = (
        f"consensus confidence {confidence:.2f}"
        if _known(confidence)
        else "outside of what it knows"
        if len(models) == 1
        else "outside of what any of them knows"
    )
    who = f"{models[0]} ranks" if len(models) == 1 else "Together the models rank"
    yield (
        f"{who} it {place + 1} of {len(ids):,} predicted {words.heading} among {len(candidates):,} "
        f"candidates ({certainty})."
    )


def _say_dft(run: RunTables, material_id: str, n_sites: int, own: pd.DataFrame) -> Iterator[str]:
    if not run.has_table(TableName.DFT_JOBS):
        yield "The run stopped before any material was chosen for DFT."
        return
    job = _row(run.read_table(TableName.DFT_JOBS), material_id)
    selection = SelectionSettings.model_validate(run.info["settings"].get("selection", {}))
    if not job:
        yield _say_not_chosen(n_sites, own, selection)
        return
    words = describe_choice(job[Column.SELECTED_AS], n_sites, selection).removeprefix("chosen: ")
    yield f"It was chosen for DFT: {words}."
    yield _say_result(run, job)


def _say_not_chosen(n_sites: int, own: pd.DataFrame, selection: SelectionSettings) -> str:
    flags = own[target_of(own)]
    if flags.isna().all():
        return "It was not chosen for DFT: it has no prediction."
    is_outside = bool(outside_of_all_models(own))
    is_left_out = is_outside and not selection.allow_outside
    if is_true(flags).any() or is_left_out or (selection.max_sites or n_sites) < n_sites:
        words = describe_choice(None, n_sites, selection, is_outside=is_outside)
        return f"It was {words.replace('not chosen:', 'not chosen for DFT:')}."
    return (
        f"It was not chosen for DFT: it is not one of the {selection.n_random_negatives} negatives that were drawn at "
        "random (selection.n_random_negatives)."
    )


def _say_result(run: RunTables, job: Row) -> str:
    result: Row = {}
    if run.has_table(TableName.DFT_RESULTS):
        result = _row(run.read_table(TableName.DFT_RESULTS), job[Column.MATERIAL_ID])
    if result.get(Column.STATUS) != Status.OK:
        reason = str(result.get(Column.REASON) or job.get(Column.REASON) or "").rstrip(".")
        return f"It has no DFT spectrum: {result.get(Column.STATUS, job[Column.STATUS])}. {reason}".strip(". ") + "."
    return f"DFT ({describe_level(result)}) {describe_dft(result, target_of_run(run.info))}."


def describe_level(result: Row) -> str:
    """Who computed a spectrum, and how: "gpaw PBE unpolarised"."""
    names = (Column.ENGINE, Column.FUNCTIONAL, Column.SPIN)
    return " ".join(str(result[name]) for name in names if isinstance(result.get(name), str))


def describe_dft(result: Row, words: TargetWords) -> str:
    """What a finished DFT calculation finds, in words, with the reason where it is no gapped metal."""
    verdict = dft_verdict(dict(result))
    if words.condition:
        is_hit = "is" if result.get(Column.IS_TARGET) is True else "is not"
        return f"finds {verdict}: it {is_hit} {words.singular} of {words.condition}"
    if verdict == GAPPED_METAL:
        return "; ".join([f"finds a gapped metal with a gap {describe_gap(result)}", *describe_risk(result)])
    said = [f"its widest gap is {describe_gap(result)}"] if _known(result.get(Column.GAP_TOP_EV)) else []
    if result.get(Column.IS_METAL) is False and _known(result.get(Column.DOS_ABOVE_EFERMI)):
        said = [_why_no_metal(result), *said]
    return f"does not find a gapped metal: {'; '.join([verdict, *said])}"


def _row(table: pd.DataFrame, material_id: str) -> dict[Any, Any]:
    rows = table[table[Column.MATERIAL_ID] == material_id].to_dict("records")
    return rows[-1] if rows else {}


def _sites(number: int) -> str:
    return f"{counted(number, 'site')} per cell"


def _known(value: Any) -> bool:
    return value is not None and bool(pd.notna(value))
