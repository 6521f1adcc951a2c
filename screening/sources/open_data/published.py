"""eDOS published by the Materials Project since a previous run predicted them.

Only these materials are requested, by id: their documents from the API or the open data, their spectra from the open
data. Spectra are kept in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from mat2spec.labels.edos_store import STORE_SCHEMA
from mat2spec.tables.columns import GEOMETRY_COLUMNS, Column
from mat2spec.tables.files import atomic_file, make_folder
from mat2spec.tables.locks import take_lock
from mat2spec.tables.parquet import read_table, write_table
from mat2spec.tables.provenance import hash_json
from screening.settings import SourceKind, SourceSettings
from screening.sources.materials_project.api_key import load_api_key
from screening.sources.materials_project.client import MaterialsProject
from screening.sources.materials_project.documents import PROVES_EDOS, calculation_number, normal_id, page_table
from screening.sources.materials_project.query import Query
from screening.sources.open_data.bulk import ReleaseMaterials
from screening.sources.open_data.bulk_edos import COLUMNS, EdosRows, samples_of, store_metadata
from screening.sources.open_data.delta import SUMMARY, TOTAL_DOS, batches_with, open_delta, release_of
from screening.sources.open_data.spectra import SpectrumError

if TYPE_CHECKING:
    from deltalake import DeltaTable

Document = dict[str, Any]

FOLDER = "published"
NAMES_PER_REQUEST = 100
CALCULATION = "calculation"
NO_SPECTRUM = "The open data do not contain a spectrum of its calculation (yet)."
NO_DOCUMENT = "The Materials Project does not name a calculation for its eDOS."
# Increased when cached rows must be read again.
STORE_VERSION = 1


class Published(NamedTuple):
    """Spectra published in the meantime.

    Parameters
    ----------
    store
        An eDOS store of the usable ones; None if none was requested.
    failures
        Why the other materials have no spectrum.
    """

    store: Path | None
    failures: dict[str, str]


def with_edos_now(settings: SourceSettings, material_ids: Collection[str]) -> frozenset[str]:
    """Which of some materials now have an eDOS, although the filters of the query leave them out.

    Along with its eDOS a material often gets another band gap, and the server no longer counts it among the metals. The
    answer is kept for each version of the database. Only the API needs this query.

    Raises
    ------
    MaterialsProjectError
        If the server cannot be queried.
    """
    if settings.kind is not SourceKind.MATERIALS_PROJECT or not material_ids:
        return frozenset()
    with closing(MaterialsProject(settings, load_api_key())) as client:
        version = client.first_db_version()
        name = hash_json([settings.mp_endpoint, version, sorted(material_ids), settings.mp_include_gnome])[:16]
        path = make_folder(settings.mp_cache_dir / FOLDER) / f"edos-{name}.json"
        if not path.exists():
            table = page_table(list(_documents(client, settings, material_ids)))
            found = [name for name, proved in zip(*_columns(table), strict=True) if proved]
            with atomic_file(path) as file:
                file.write(json.dumps(found).encode())
    return frozenset(json.loads(path.read_text(encoding="utf-8")))


def _columns(table: pa.Table) -> tuple[list[str], list[bool]]:
    return table[Column.MATERIAL_ID].to_pylist(), table[PROVES_EDOS].to_pylist()


def fetch_published(settings: SourceSettings, material_ids: Collection[str]) -> Published:
    """Spectra of materials that now have an eDOS, in an eDOS store of the cache.

    What cannot be read is listed with the reason and retried by the next run. The store has no crystals if unrelaxed
    cells are screened, since these are not the published ones.

    Raises
    ------
    MaterialsProjectError
        If the Materials Project or its open data cannot be queried.
    """
    if settings.kind not in {SourceKind.MATERIALS_PROJECT, SourceKind.OPEN_DATA} or not material_ids:
        return Published(None, {})
    materials = (
        _materials_of_api(settings, material_ids)
        if settings.kind is SourceKind.MATERIALS_PROJECT
        else _of_open_data(settings, material_ids)
    )
    place = hash_json([settings.kind, settings.mp_endpoint, settings.mp_cells, STORE_VERSION])[:16]
    path = make_folder(settings.mp_cache_dir / FOLDER) / f"edos-{place}.parquet"
    lock = take_lock(path.with_suffix(".lock"), patience_s=float("inf"))
    try:
        failures = _add_spectra(path, settings, materials)
    finally:
        lock.release()
    named = set(materials.table[Column.MATERIAL_ID].to_pylist())
    return Published(path, dict.fromkeys(sorted(set(material_ids) - named), NO_DOCUMENT) | failures)


def _documents(client: MaterialsProject, settings: SourceSettings, names: Collection[str]) -> Iterator[Document]:
    query, ordered = Query((), settings.mp_include_gnome), sorted(names)
    for start in range(0, len(ordered), NAMES_PER_REQUEST):
        yield from client.summaries(ordered[start : start + NAMES_PER_REQUEST], query)


def _materials_of_api(settings: SourceSettings, names: Collection[str]) -> ReleaseMaterials:
    """Crystals and calculations of materials, by the API."""
    with closing(MaterialsProject(settings, load_api_key())) as client:
        release = client.first_db_version()
        documents = [document for document in _documents(client, settings, names) if _calculation(document)]
    table = page_table(documents)
    rows = {calculation_number(_calculation(document)): row for row, document in enumerate(documents)}
    columns = (Column.MATERIAL_ID, Column.FORMULA, *GEOMETRY_COLUMNS)
    return ReleaseMaterials(release, rows, table.select([str(column) for column in columns]))


def _calculation(document: Document) -> str | None:
    """Identifier of the calculation that gave the eDOS."""
    name = (document.get("dos") or {}).get("task_id")
    return str(name) if name else None


def _of_open_data(settings: SourceSettings, names: Collection[str]) -> ReleaseMaterials:
    """Crystals and calculations of materials, from the open data."""
    summary, wanted = open_delta(SUMMARY, settings), frozenset(names)
    release = release_of(summary)
    fields = ReleaseMaterials.fields({"task_id": ds.field("dos", "task_id")})
    batches = batches_with(summary, fields, "material_id", lambda name: normal_id(name) in wanted, release)
    return ReleaseMaterials.of_batches(
        release, batches, settings, lambda batch: [[name] if name else [] for name in batch["task_id"].to_pylist()]
    )


def _add_spectra(path: Path, settings: SourceSettings, materials: ReleaseMaterials) -> dict[str, str]:
    """Read the spectra missing from the store; return the materials that have none, and why."""
    kept = read_table(path) if path.exists() else _schema(settings).empty_table()
    known = set(zip(kept[Column.MATERIAL_ID].to_pylist(), kept[CALCULATION].to_pylist(), strict=True))
    owners = {number: str(materials.table[Column.MATERIAL_ID][row]) for number, row in materials.rows.items()}
    missing = {number: owner for number, owner in owners.items() if (owner, number) not in known}
    if path.exists() and not missing:
        return {}
    source = open_delta(TOTAL_DOS, settings)
    found, reasons = _read_spectra(source, materials, missing)
    table = pa.concat_tables([kept, pa.Table.from_pylist(found, schema=_schema(settings))])
    keys = [(Column.MATERIAL_ID, "ascending"), (Column.SETTINGS_HASH, "ascending")]
    write_table(path, table.sort_by(keys), store_metadata(materials.release, source.version()))
    without = set(missing.values()) - {str(row[Column.MATERIAL_ID]) for row in found}
    return {name: reasons.get(name, NO_SPECTRUM) for name in sorted(without)}


def _read_spectra(
    source: DeltaTable, materials: ReleaseMaterials, wanted: Collection[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of the spectra of calculations, and why some cannot be used."""
    rows, found, reasons = EdosRows(materials, frozenset()), list[dict[str, Any]](), dict[str, str]()
    for batch in batches_with(source, COLUMNS, "identifier", lambda name: calculation_number(name) in wanted):
        for sample in samples_of(batch):
            try:
                found.append({**rows.row(sample), CALCULATION: calculation_number(sample["identifier"])})
            except SpectrumError as error:
                reasons[str(rows.material_of(sample))] = str(error)
    return found, reasons


def _schema(settings: SourceSettings) -> pa.Schema:
    """Columns of the store of the cache."""
    dropped = set() if settings.mp_cells == "relaxed" else set(GEOMETRY_COLUMNS)
    return pa.schema(
        [*(field for field in STORE_SCHEMA if field.name not in dropped), pa.field(CALCULATION, pa.string())]
    )
