"""Where labelled spectra come from: data folders, archives, folders of files, Parquet tables."""

from mat2spec.labels.readers.archive import load_archive_edos, load_archive_phdos
from mat2spec.labels.readers.folder import load_folder
from mat2spec.labels.readers.opening import DataKind, data_kind, load_spectra
from mat2spec.labels.readers.table import load_table
from mat2spec.labels.reserved import known_reserved_formulas

__all__ = [
    "DataKind",
    "data_kind",
    "known_reserved_formulas",
    "load_archive_edos",
    "load_archive_phdos",
    "load_folder",
    "load_spectra",
    "load_table",
]
