"""What is new since a date or a release: the changes found by runs, with the predictions for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mat2spec.tables.columns import Column
from mat2spec.tables.parquet import is_true, read_frame
from screening.runs.folder import RunFolder
from screening.runs.releases import runs_since
from screening.runs.schemas import TableName

COLUMNS = (
    Column.MATERIAL_ID,
    Column.FORMULA,
    Column.CHANGE,
    Column.GAPPED_METAL_BY,
    Column.GAPPED_METAL_CONFIDENCE,
    Column.GAP_TOP_EV,
    Column.GAP_WIDTH_EV,
    Column.DB_VERSION,
    Column.RUN_ID,
)


def new_materials(results_dir: Path, since: str | None = None) -> pd.DataFrame:
    """Materials that are new, changed, or lost or gained an eDOS, in the finished runs since a date or a release.

    Parameters
    ----------
    results_dir
        Folder of all runs.
    since
        As `screening.runs.releases.runs_since`; the last run if None.

    Returns
    -------
    pandas.DataFrame
        Columns `COLUMNS`, one row per change, oldest run first. `gapped_metal_by` names the models that predict a gapped
        metal; confidence and gap are those of the most confident one, null if there is none.

    Raises
    ------
    RunError
        If no run has finished, or `since` is not valid.
    """
    names = [str(name) for name in COLUMNS]
    pieces = [_of_run(RunFolder.attach(results_dir / info["run_id"]), info) for info in runs_since(results_dir, since)]
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in names})
    filled = [piece for piece in pieces if len(piece)]
    return pd.concat(filled, ignore_index=True)[names] if filled else empty


def _of_run(run: RunFolder, info: dict[str, Any]) -> pd.DataFrame:
    """Changes of one run; none for runs of versions that did not record them."""
    if not run.has_table(TableName.CHANGES):
        return pd.DataFrame()
    changes = run.read_table(TableName.CHANGES, [Column.MATERIAL_ID, Column.CHANGE, Column.FORMER_RUN_ID])
    formulas = changes[Column.MATERIAL_ID].map(_formulas(run, changes))
    rows = changes.assign(**{Column.FORMULA: formulas.astype(object)})
    rows = rows.merge(_gapped_metals(run), on=Column.MATERIAL_ID, how="left")
    return rows.assign(**{Column.DB_VERSION: info["db_version"], Column.RUN_ID: info["run_id"]})


def _formulas(run: RunFolder, changes: pd.DataFrame) -> dict[str, str]:
    """Formulas of materials that changed: of this run's candidates, or of the previous run's if they are no longer candidates."""
    formulas: dict[str, str] = {}
    for name in [run.path.name, *sorted(set(changes[Column.FORMER_RUN_ID].dropna()))]:
        path = run.path.parent / str(name) / f"{TableName.CANDIDATES}.parquet"
        if path.exists():  # a previous run may have been removed
            rows = read_frame(path, [Column.MATERIAL_ID, Column.FORMULA])
            rows = rows[rows[Column.MATERIAL_ID].isin(changes[Column.MATERIAL_ID])]
            formulas = dict(zip(rows[Column.MATERIAL_ID], rows[Column.FORMULA], strict=True)) | formulas
    return formulas


def _gapped_metals(run: RunFolder) -> pd.DataFrame:
    """The models that predict each gapped metal, and the gap by the most confident of them."""
    numbers = [str(name) for name in (Column.GAPPED_METAL_CONFIDENCE, Column.GAP_TOP_EV, Column.GAP_WIDTH_EV)]
    if not run.has_table(TableName.CLASSIFICATIONS):
        return pd.DataFrame(
            {name: pd.Series(dtype=object) for name in [Column.MATERIAL_ID, Column.GAPPED_METAL_BY, *numbers]}
        )
    columns = [Column.MATERIAL_ID, Column.MODEL, Column.IS_GAPPED_METAL, *numbers]
    classes = run.read_table(TableName.CLASSIFICATIONS, columns)
    positives = classes[is_true(classes[Column.IS_GAPPED_METAL])]
    positives = positives.sort_values([Column.GAPPED_METAL_CONFIDENCE, Column.MODEL], ascending=[False, True])
    best = positives.drop_duplicates(Column.MATERIAL_ID)[[Column.MATERIAL_ID, *numbers]]
    models = positives.groupby(Column.MATERIAL_ID)[Column.MODEL].agg(lambda names: ", ".join(sorted(names)))
    return best.merge(models.rename(Column.GAPPED_METAL_BY), on=Column.MATERIAL_ID)
