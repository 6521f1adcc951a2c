"""Where labelled spectra come from: data folders, archives, folders of files, Parquet tables."""

from mat2spec.labels.readers.archive import load_archive_edos, load_archive_phdos
from mat2spec.labels.readers.folder import load_folder
from mat2spec.labels.readers.opening import SourceKind, load_spectra, source_kind
from mat2spec.labels.readers.table import load_table
from mat2spec.labels.reserved import known_reserved_formulas

__all__ = [
    "SourceKind",
    "known_reserved_formulas",
    "load_archive_edos",
    "load_archive_phdos",
    "load_folder",
    "load_spectra",
    "load_table",
    "source_kind",
]
