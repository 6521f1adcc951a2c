"""Validation at no cost: densities of states published by others after a previous run had predicted them.

A material that a run predicted had no eDOS then. When the store of known eDOS holds its spectrum later,
prediction and spectrum are compared by the same rule as with our own DFT, separately for each level of theory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.identity import rounded_structure_hashes
from mat2spec.crystals.material_ids import named_by, spelled_as_in
from mat2spec.crystals.primitive import count_primitive_sites
from mat2spec.settings import LARGEST_METAL_GAP_EV
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from mat2spec.tables.columns import GEOMETRY_COLUMNS, Column
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import matrix_column, read_frame, read_metadata, read_table, require_columns, to_frame
from mat2spec.tables.status import Status
from screening.classify.gaps import classify_spectra
from screening.evaluate.evaluation import precision_recall
from screening.evaluate.references import with_u
from screening.runs.history import PreviousRuns
from screening.runs.schemas import LEVEL_OF_THEORY, TableName, column_names, empty_table
from screening.settings import EvaluationSettings, GapSettings, SourceKind, SourceSettings
from screening.sources.known_edos import known_edos_ids, store_files
from screening.sources.materials_project.errors import MaterialsProjectError
from screening.sources.open_data.bulk import REFERENCE_KEY
from screening.sources.open_data.published import Published, fetch_published

logger = logging.getLogger(__name__)

PUBLISHED = "published"


@dataclass(frozen=True)
class PublishedSpectra:
    """Spectra of the known-eDOS store for some materials.

    Parameters
    ----------
    rows
        Columns `material_id`, `reference`, `functional`, `spin`, `u_values`, `structure_hash` (null where the store
        holds no crystals), `nsites`, `nsites_primitive`.
    spectra
        On `EDOS_GRID`, states/eV per cell, shape (n, 128).
    """

    rows: pd.DataFrame
    spectra: np.ndarray


def read_published(stores: Collection[Path], material_ids: Collection[str]) -> PublishedSpectra:
    """Spectra of the given materials; empty if the store holds only identifiers.

    Raises
    ------
    TableError
        If a table of the store is damaged or its spectra lie on another grid.
    """
    rows, spectra = [], [np.empty((0, EDOS_GRID.size))]
    for file in (file for store in stores for file in store_files(store)):
        present = require_columns(file, [Column.MATERIAL_ID])
        if Column.EDOS not in present:
            continue
        _require_grid(file)
        table = _rows_of(file, present, material_ids)
        rows.append(_describe(table, file))
        spectra.append(matrix_column(table, Column.EDOS, EDOS_GRID.size).astype(np.float64))
    sizes = (Column.NSITES, Column.NSITES_PRIMITIVE)
    names = [Column.MATERIAL_ID, Column.REFERENCE, *LEVEL_OF_THEORY, Column.STRUCTURE_HASH, *sizes]
    empty = pd.DataFrame({str(name): pd.Series(dtype=object) for name in names})
    return PublishedSpectra(pd.concat(rows, ignore_index=True) if rows else empty, np.concatenate(spectra))


def _require_grid(file: Path) -> None:
    text = read_metadata(file).get(GRID_METADATA_KEY)
    if text is None or json.loads(text) != json.loads(EDOS_GRID.to_json()):
        raise TableError(
            f"The spectra of {file} are on an unknown grid: {GRID_METADATA_KEY} is missing from its metadata or differs. "
            "Write it with `mat2spec fetch edos` or `mat2spec label`, or leave the column edos out."
        )


def _rows_of(file: Path, present: Collection[str], material_ids: Collection[str]) -> pa.Table:
    wanted = [
        Column.MATERIAL_ID,
        Column.EDOS,
        Column.NSITES,
        Column.STATUS,
        "engine",
        *LEVEL_OF_THEORY,
        *GEOMETRY_COLUMNS,
    ]
    table = read_table(file, [name for name in wanted if name in present])
    names = spelled_as_in(material_ids, table[Column.MATERIAL_ID].to_pylist())
    table = table.set_column(
        table.column_names.index(Column.MATERIAL_ID), str(Column.MATERIAL_ID), pa.array(names, pa.string())
    )
    table = table.filter(pc.is_in(table[Column.MATERIAL_ID], value_set=pa.array(sorted(material_ids), pa.string())))
    if Column.STATUS in table.column_names:
        table = table.filter(pc.equal(table[Column.STATUS], Status.OK))
    return table


def _describe(table: pa.Table, file: Path) -> pd.DataFrame:
    """The columns of the store besides the spectra."""

    def column(name: str, default: object) -> list[object]:
        return table[name].to_pylist() if name in table.column_names else [default] * len(table)

    functionals, engines = column(Column.FUNCTIONAL, None), column("engine", "unknown")
    reference = read_metadata(file).get(REFERENCE_KEY)
    names = [reference or f"{e}-{f}".lower() for e, f in zip(engines, functionals, strict=True)]
    hashes: list[object] = [None] * len(table)
    n_sites = column(Column.NSITES, 1)
    n_primitive = n_sites
    if set(GEOMETRY_COLUMNS) <= set(table.column_names):
        crystals = Crystals.from_arrow(table)
        hashes, n_sites = list(rounded_structure_hashes(crystals)), crystals.n_sites.tolist()
        n_primitive = count_primitive_sites(crystals).tolist()
    return pd.DataFrame(
        {
            Column.MATERIAL_ID: column(Column.MATERIAL_ID, None),
            Column.REFERENCE: names,
            Column.FUNCTIONAL: functionals,
            Column.SPIN: column(Column.SPIN, None),
            Column.U_VALUES: column(Column.U_VALUES, None),
            Column.STRUCTURE_HASH: hashes,
            Column.NSITES: n_sites,
            Column.NSITES_PRIMITIVE: n_primitive,
        }
    )


def published_since(source: SourceSettings, previous: PreviousRuns, known_edos: Collection[str]) -> Published:
    """Spectra that the source's database has published of materials that previous runs predicted.

    Those in the store of known eDOS are not requested again. If the database cannot be reached, this becomes the reason for
    each missing spectrum and the run continues; the next run tries again.

    Parameters
    ----------
    source
        The source of the present run.
    previous
        The previous runs.
    known_edos
        Materials that have an eDOS now.
    """
    asked = set(previous.screened[Column.MATERIAL_ID]) & set(known_edos)
    asked -= named_by(known_edos_ids(source.store_of_known_edos), asked)
    try:
        return fetch_published(source, asked)
    except MaterialsProjectError as error:
        logger.warning("%d published eDOS are not compared with the predictions: %s", len(asked), error)
        return Published(None, dict.fromkeys(sorted(asked), str(error)))


def published_results(
    stores: Collection[Path],
    previous: PreviousRuns,
    gap: GapSettings,
    failures: Mapping[str, str] | None = None,
    band_gaps: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Rows of `published_results`: spectra of materials that a previous run predicted, classified.

    A material whose structure differs from the predicted one becomes a row with that reason and no classes, so does one
    whose spectrum is at odds with the band gap that the source gives, by material in eV, and so does each of the
    `failures`, a reason by material. None of these counts as the truth.

    Raises
    ------
    TableError
        As `read_published`.
    """
    predicted = previous.screened.drop_duplicates(Column.MATERIAL_ID, keep="last").set_index(Column.MATERIAL_ID)
    published = read_published(stores, set(predicted.index))
    rows = published.rows.reset_index(drop=True)
    then = rows[Column.MATERIAL_ID].map(predicted[Column.STRUCTURE_HASH])
    same = (rows[Column.STRUCTURE_HASH].isna() | (rows[Column.STRUCTURE_HASH] == then)).to_numpy(dtype=np.bool_)
    n_sites, n_primitive = (rows[name].to_numpy(dtype=np.int64) for name in (Column.NSITES, Column.NSITES_PRIMITIVE))
    spectra = np.where(same[:, None], published.spectra, np.nan)
    classes = classify_spectra(spectra, EDOS_GRID, gap, n_sites, n_primitive)
    at_odds = _at_odds(classes[Column.IS_METAL], rows[Column.MATERIAL_ID].map(dict(band_gaps or {})), gap)
    # Null in every column of what is not the truth.
    classes = classes.mask(pd.Series(at_odds != "", index=classes.index))
    status = np.select([~same, at_odds != ""], [Status.STRUCTURE_CHANGED, Status.BAND_GAP_DIFFERS], Status.OK)
    changed = "The published structure differs from the one predicted."
    head = pd.DataFrame(
        {
            Column.MATERIAL_ID: rows[Column.MATERIAL_ID],
            Column.STATUS: status.astype(object),
            Column.REASON: np.where(same, at_odds, changed).astype(object),
            **{str(name): rows[name] for name in (Column.REFERENCE, *LEVEL_OF_THEORY)},
            Column.FORMER_RUN_ID: rows[Column.MATERIAL_ID].map(predicted[Column.RUN_ID]),
            Column.EDOS: pd.Series(list(published.spectra), dtype=object),
        }
    )
    results = pd.concat([head, classes], axis=1)
    return _with_failures(results, failures or {}, predicted[Column.RUN_ID])


def known_band_gaps(candidates: pd.DataFrame, removed: pd.DataFrame, previous: PreviousRuns) -> dict[str, float]:
    """Band gap in eV of the materials that previous runs screened and the source has one of, those that filters removed included."""
    names = [str(Column.MATERIAL_ID), str(Column.BAND_GAP)]
    asked = previous.screened[Column.MATERIAL_ID]
    known = pd.concat(
        [rows.loc[rows[Column.MATERIAL_ID].isin(asked), names] for rows in (candidates, removed)]
    ).dropna()
    return dict(zip(known[Column.MATERIAL_ID], known[Column.BAND_GAP].astype(float), strict=True))


def _at_odds(is_metal: pd.Series, band_gaps: pd.Series, gap: GapSettings) -> NDArray[np.object_]:
    """Why each spectrum is at odds with the band gap of its material; empty where it is not, or where either is unknown.

    The rule sees no gap that is narrower than its window above E_F, so that those count as metals and as gapped.
    """
    gaps = band_gaps.to_numpy(dtype=np.float64, na_value=np.nan)
    metal, known = is_metal.fillna(value=False).to_numpy(dtype=np.bool_), is_metal.notna().to_numpy(dtype=np.bool_)
    wide, none = known & metal & (gaps > gap.metal_window_ev), known & ~metal & (gaps <= LARGEST_METAL_GAP_EV)
    reasons = np.full(len(gaps), "", dtype=object)
    for row in np.flatnonzero(wide):
        reasons[row] = (
            f"The published spectrum is that of a metal, but the source gives a band gap of {gaps[row]:.2f} eV."
        )
    reasons[none] = "The published spectrum has a band gap, but the source gives none."
    return reasons


def _with_failures(results: pd.DataFrame, failures: Mapping[str, str], run_of: pd.Series) -> pd.DataFrame:
    """The results with a row for each material whose spectrum could not be read."""
    names = [name for name in failures if name in run_of.index]
    if not names:
        return results
    rows = pd.DataFrame(
        {
            Column.MATERIAL_ID: names,
            Column.STATUS: Status.NOT_READ,
            Column.REASON: [failures[name] for name in names],
            Column.REFERENCE: SourceKind.MATERIALS_PROJECT,
            Column.FORMER_RUN_ID: [run_of[name] for name in names],
        }
    )
    return pd.concat([results, rows.reindex(columns=results.columns)], ignore_index=True)


def published_precision_recall(
    results: pd.DataFrame,
    classifications: pd.DataFrame,
    gap: GapSettings,
    settings: EvaluationSettings,
) -> list[pd.DataFrame]:
    """Precision and recall against published spectra, one table for each reference and level of theory.

    Materials computed with Hubbard U are kept apart from those without; `u_values` of their rows names the elements.

    Parameters
    ----------
    results
        The table `published_results`.
    classifications
        What was predicted: the table `previous_classifications`.
    gap, settings
        The rule, and the confidence level of the intervals.
    """
    if results.empty:
        return []
    keys = [
        results[Column.REFERENCE],
        results[Column.FUNCTIONAL].fillna(""),
        results[Column.SPIN].fillna(""),
        with_u(results[Column.U_VALUES]),
    ]
    tables = []
    for (reference, *_), group in sorted(results.groupby(keys), key=lambda pair: str(pair[0])):
        answers = group.assign(**{Column.U_VALUES: _joined_u(group[Column.U_VALUES])})
        chosen = classifications[classifications[Column.MATERIAL_ID].isin(answers[Column.MATERIAL_ID])]
        picks = answers[[Column.MATERIAL_ID]].copy()
        picks[Column.SELECTED_AS], picks[Column.INCLUSION_PROBABILITY] = PUBLISHED, 1.0
        table = precision_recall(chosen, answers, picks, settings, str(reference), gap.describe())
        level: dict[str, Any] = {str(name): answers[name].iloc[0] for name in LEVEL_OF_THEORY}
        tables.append(table.assign(**level))
    return tables


def _joined_u(texts: pd.Series) -> str:
    """Hubbard U of all elements of a group, as JSON."""
    joined: dict[str, float] = {}
    for text in texts.dropna():
        joined |= json.loads(text or "{}")
    return json.dumps(joined, sort_keys=True)


def previous_classifications(results: pd.DataFrame, results_dir: Path) -> pd.DataFrame:
    """The classes of each published material in the last run that predicted it.

    Parameters
    ----------
    results
        The table `published_results`.
    results_dir
        Folder of all runs.

    Returns
    -------
    pandas.DataFrame
        Columns `material_id`, `model`, and the flags of the classes.
    """
    columns = column_names(TableName.PREVIOUS_CLASSIFICATIONS)
    pieces = [to_frame(empty_table(TableName.PREVIOUS_CLASSIFICATIONS))]
    for run_id, group in results.groupby(Column.FORMER_RUN_ID):
        try:
            classes = read_frame(results_dir / str(run_id) / f"{TableName.CLASSIFICATIONS}.parquet", columns)
        except TableError as error:
            logger.warning("The predictions of the previous run %s are not compared. %s", run_id, error)
            continue
        pieces.append(classes[classes[Column.MATERIAL_ID].isin(group[Column.MATERIAL_ID])])
    return pd.concat(pieces, ignore_index=True)
