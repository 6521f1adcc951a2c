"""Files of crystals as a source: folders, patterns, databases of ASE, JSON; or materials named by identifier.

All of them are read into memory at once, by the readers that `mat2spec predict` uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.given import crystals_with_problems
from mat2spec.crystals.readers import ReadStructure, expand_paths
from mat2spec.tables.columns import Column
from mat2spec.tables.files import file_sha256
from screening.settings import SourceKind, SourceSettings
from screening.sources.base import SourceError, properties_of
from screening.sources.by_id import expand_lists, is_identifier, read_crystals

# Of coordinates in a fingerprint, Angstrom or a share of the cell: what rounding in files does not reach.
_DECIMALS = 6


class FilesSource:
    """Crystals that were read from files.

    Parameters
    ----------
    read
        What was read, crystals and reasons why there is none.
    fingerprint
        SHA-256 of the content of the files.
    label
        Short name for `db_version`.
    """

    name = str(SourceKind.FILES)

    def __init__(self, read: Sequence[ReadStructure], fingerprint: str, label: str) -> None:
        self._read, self._fingerprint, self._label = read, fingerprint, label
        self._crystals = crystals_with_problems(
            [entry.name for entry in read], [entry.structure for entry in read], [entry.reason for entry in read]
        )
        self._rows = {name: row for row, name in enumerate(self._crystals.material_ids)}

    def fingerprint(self) -> str:
        """SHA-256 of the content of the files."""
        return self._fingerprint

    def db_version(self) -> str:
        """Name of the files with the start of the hash."""
        return f"{self._label}-{self._fingerprint[:12]}"

    def known_edos_ids(self) -> frozenset[str]:
        """Nothing is known of files."""
        return frozenset()

    def earlier_filters(self) -> pd.DataFrame | None:
        """Nothing was filtered before."""
        return None

    def properties(self) -> pd.DataFrame:
        """All materials without coordinates, see `CrystalSource.properties`; `origin` and the reason why one is unreadable."""
        columns = {
            Column.ORIGIN: [entry.origin or entry.file for entry in self._read],
            Column.REASON: [entry.reason for entry in self._read],
        }
        return properties_of(self._crystals).assign(**columns)

    def crystals(self, material_ids: Sequence[str]) -> Crystals:
        """The crystals of the given materials, in that order; one that could not be read has its reason.

        Raises
        ------
        SourceError
            If a material is not in the source.
        """
        unknown = [name for name in material_ids if name not in self._rows]
        if unknown:
            raise SourceError(
                f"{len(unknown)} of {len(material_ids)} materials are not in the files, the first is {unknown[0]}; the "
                "candidates belong to another source."
            )
        return self._crystals.take([self._rows[name] for name in material_ids])


def open_files(settings: SourceSettings, results_dir: Path | None = None) -> FilesSource:
    """Read the files, or the materials, that `source.path` names; these are looked for in the runs of a folder first.

    Raises
    ------
    SourceError
        If there is nothing to read, or two crystals have the same name.
    """
    assert settings.path is not None
    path = settings.path
    names = [path] if path.exists() or "," not in str(path) else [Path(part) for part in str(path).split(",")]
    files = expand_paths(expand_lists(names))
    if len(files) == 1 and files[0].is_dir():
        raise SourceError(f"The folder {path} holds no file of crystals (CIF, POSCAR, JSON, extxyz, ASE, Parquet).")
    content = _content_of(files)
    read = _read_once(tuple(files), content, settings, results_dir)
    fingerprint = _fingerprint(content, read, settings.limit)
    if not any(entry.structure is not None for entry in read):
        raise SourceError(f"No crystal could be read from {path}: {read[0].name}: {read[0].reason}")
    return FilesSource(read, fingerprint, path.name)


@lru_cache(maxsize=1)
def _read_once(
    files: tuple[Path, ...],
    content: str,  # noqa: ARG001  tells whether the files are still those that were read
    settings: SourceSettings,
    results_dir: Path | None,
) -> list[ReadStructure]:
    """What the files hold."""
    read = read_crystals(files, settings, results_dir)[: settings.limit]
    names = pd.Series([entry.name for entry in read])
    twice = names[names.duplicated()]
    if len(twice):
        raise SourceError(f"{len(twice)} crystals have the name of another, the first is {twice.iloc[0]}.")
    return read


def _content_of(files: Sequence[Path]) -> str:
    """Hash of names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file).encode())
        if file.is_file():
            digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def _fingerprint(content: str, read: Sequence[ReadStructure], limit: int | None) -> str:
    """Hash of the content of files, and of the crystals of identifiers: those of a database change with its version."""
    digest = hashlib.sha256(f"limit {limit}{content}".encode())
    for entry in read:
        if entry.structure is not None and is_identifier(Path(entry.name)):
            cell, coordinates = entry.structure.lattice.matrix, entry.structure.frac_coords
            digest.update(np.round([*cell, *coordinates], _DECIMALS).tobytes())
            digest.update(np.array(entry.structure.atomic_numbers, dtype=np.int64).tobytes())
    return digest.hexdigest()
