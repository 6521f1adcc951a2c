"""Open any source of labelled spectra; its kind is recognised from its files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.labelled import DataError, LabelledSpectra
from mat2spec.labels.readers.archive import load_archive_edos, load_archive_phdos
from mat2spec.labels.readers.data_folder import DFPT_FILE, EDOS_FILE, FINITE_DISPLACEMENT_FILE, load_edos, load_phdos
from mat2spec.labels.readers.folder import load_folder
from mat2spec.labels.readers.table import load_table
from mat2spec.labels.reserved import RESERVED_FILE
from mat2spec.settings import Level, shipped_stores
from mat2spec.spectra.grids import EDOS_GRID, GRIDS

_DATA_FOLDER_FILES = (EDOS_FILE, DFPT_FILE, FINITE_DISPLACEMENT_FILE, RESERVED_FILE)


class DataKind(StrEnum):
    """Kind of a source."""

    DATA_FOLDER = "data folder"
    ARCHIVE = "archive of the paper"
    FOLDER = "folder of structures and spectra"
    TABLE = "Parquet table"


def data_kind(path: Path) -> DataKind:
    """Recognise the kind of a source.

    Raises
    ------
    DataError
        If there is nothing to train on.
    """
    path = Path(path)
    if any((path / name).is_file() for name in _DATA_FOLDER_FILES):
        return DataKind.DATA_FOLDER
    if any((path / name).is_dir() for name in ("label_edos", "materials_with_edos", "phdos")):
        return DataKind.ARCHIVE
    if (path / "structures").is_dir():
        return DataKind.FOLDER
    if path.is_file() or (path.is_dir() and any(path.glob("*.parquet"))):
        return DataKind.TABLE
    raise DataError(
        f"There is nothing to train on in {path}: neither tables of labelled spectra ({EDOS_FILE}, {DFPT_FILE}), nor the "
        "paper's archive (label_edos/, phdos/), nor structures/ with spectra, nor a Parquet table. "
        "Give another path with --data or the variable MAT2SPEC_DATA_DIR."
    )


def load_spectra(
    path: Path | None,
    spectrum: str,
    graph_settings: GraphSettings,
    *,
    pretraining: bool = True,
    stores: Sequence[Path] | None = None,
    reserved: Collection[str] = (),
    materials_class: str | None = None,
    level: Level = Level.UNPOLARISED,
) -> LabelledSpectra:
    """Labelled spectra of any source.

    Parameters
    ----------
    path
        Data folder, archive, folder of files or Parquet table (file or folder); None for the eDOS
        stores alone.
    spectrum
        ``"edos"`` or ``"phdos"``.
    graph_settings
        How graphs are made.
    pretraining
        Whether the finite-displacement phonons of a data folder are added.
    stores
        eDOS stores beside a data folder; see `mat2spec.labels.readers.data_folder.load_edos`.
    reserved
        Reduced formulas that are neither trained nor validated on, for sources without such a
        list.
    materials_class
        Subclass of the archive, see `load_archive_edos`.
    level
        Level of theory of the labels of a data folder and of eDOS stores; other sources have a single level.

    Raises
    ------
    DataError
        If there is nothing to train on, or it cannot be used.
    """
    kind = DataKind.DATA_FOLDER if path is None else data_kind(path)
    if materials_class is not None and (kind is not DataKind.ARCHIVE or spectrum != EDOS_GRID.name):
        raise DataError("Material classes with their own index files exist only for the eDOS of the paper's archive.")
    if path is None or kind is DataKind.DATA_FOLDER:
        if spectrum == EDOS_GRID.name:
            return load_edos(path, graph_settings, stores, level)
        if path is None:
            raise DataError("Phonon spectra need a source; give one with --data.")
        return load_phdos(path, graph_settings, pretraining)
    if set(map(Path, stores or ())) - set(shipped_stores()):
        raise DataError(
            f"eDOS stores can be added only to a data folder, not to the {kind} {path}, which has its own split."
        )
    if kind is DataKind.ARCHIVE:
        if spectrum == EDOS_GRID.name:
            return load_archive_edos(path, graph_settings, reserved, materials_class)
        return load_archive_phdos(path, graph_settings, reserved)
    load = load_folder if kind is DataKind.FOLDER else load_table
    return load(path, GRIDS[spectrum], graph_settings, reserved)
