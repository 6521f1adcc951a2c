"""Any Parquet table of crystals with spectra: one file, or a folder of parts, e.g. of bulk Materials Project eDOS.

    material_id      text
    lattice          9 numbers, rows, Angstrom
    frac_coords      3 numbers per site
    atomic_numbers   1 number per site
    edos             128 numbers, states/eV per cell (phdos_51: 51 numbers)
    split            optional: train, valid or test; without it a hash of the formula decides

If a table has metadata with the key `spectral_grid`, they must give the requested grid.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.composition import reduced_formulas
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra, assemble_spectra, hash_of, stack_column
from mat2spec.labels.reserved import without_reserved
from mat2spec.labels.splits import SPLITS, split_of_formula
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, PHDOS_GRID, SpectralGrid
from mat2spec.spectra.phonons import scale_to_modes
from mat2spec.tables.columns import CRYSTAL_COLUMNS
from mat2spec.tables.parquet import read_table

SPECTRUM_COLUMNS = {EDOS_GRID.name: "edos", PHDOS_GRID.name: "phdos_51"}


def load_table(
    path: Path, grid: SpectralGrid, graph_settings: GraphSettings, reserved: Collection[str] = ()
) -> LabelledSpectra:
    """Labelled spectra of a Parquet file or of all Parquet files of a folder.

    Parameters
    ----------
    path
        File or folder.
    grid
        `EDOS_GRID` or `PHDOS_GRID`.
    graph_settings
        How graphs are made.
    reserved
        Reduced formulas that are neither trained nor validated on.

    Raises
    ------
    DataError
        If there is no table, its grid differs, or no material can be trained on.
    mat2spec.tables.files.TableError
        If a file is damaged or lacks a column.
    """
    path = Path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"The folder {path} contains no Parquet table.")
    try:
        table = pa.concat_tables([_read(file, grid) for file in files])
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0].rstrip(".:")
        raise DataError(
            f"The tables of {path} hold columns of different types ({reason}); write them alike."
        ) from error
    crystals = Crystals.from_arrow(table)
    formulas = reduced_formulas(crystals)
    data = assemble_spectra(
        f"table {path.name}",
        crystals,
        formulas,
        _spectra(table, path, grid, crystals.n_sites),
        _split(table, path, formulas),
        grid,
        graph_settings,
        {name: digest for file in files for name, digest in hash_of(file).items()},
    )
    if len(data) == 0:
        raise DataError(f"No material of {path} can be trained on: {data.dropped or 'it is empty'}.")
    return without_reserved(data, reserved)


def _read(file: Path, grid: SpectralGrid) -> pa.Table:
    spectrum = SPECTRUM_COLUMNS[grid.name]
    table = read_table(file)
    missing = [name for name in (*CRYSTAL_COLUMNS, spectrum) if name not in table.column_names]
    if missing:
        raise DataError(
            f"The table {file} lacks {', '.join(missing)}; for training it needs {', '.join(CRYSTAL_COLUMNS)} and "
            f"{spectrum}."
        )
    text = (table.schema.metadata or {}).get(GRID_METADATA_KEY.encode())
    if text is not None and SpectralGrid.from_json(text.decode()) != grid:
        raise DataError(
            f"The spectra of {file} are on another grid than '{grid.name}' ({grid.size} bins from {grid.first_center:g} "
            f"to {grid.last_center:g} {grid.unit}); rebin them first."
        )
    kept = [*CRYSTAL_COLUMNS, spectrum, *(["split"] if "split" in table.column_names else [])]
    return table.select(kept).replace_schema_metadata(None)


def _spectra(table: pa.Table, path: Path, grid: SpectralGrid, n_sites: NDArray[np.int64]) -> NDArray[np.float64]:
    try:
        spectra = stack_column(table, SPECTRUM_COLUMNS[grid.name], grid)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"The spectra of {path} are not all rows of {grid.size} numbers ({error}); rebin them to the grid "
            f"'{grid.name}', {grid.first_center:g} to {grid.last_center:g} {grid.unit}."
        ) from error
    if grid.name == PHDOS_GRID.name:
        return scale_to_modes(spectra, grid)
    return spectra / np.maximum(n_sites, 1)[:, None]


def _split(table: pa.Table, path: Path, formulas: NDArray[np.object_]) -> NDArray[np.object_]:
    if "split" not in table.column_names:
        return np.array([split_of_formula(str(formula)) for formula in formulas], dtype=object)
    split = np.array(table["split"].to_pylist(), dtype=object)
    unknown = sorted({str(name) for name in split} - set(SPLITS))
    if unknown:
        raise DataError(
            f"The column split of {path} contains {', '.join(unknown)}; values must be one of {', '.join(SPLITS)}."
        )
    return split
