"""Read crystals from JSON: pymatgen structures, documents of the Materials Project, JARVIS and OPTIMADE, computed entries.

Only data are read: no class named in a file is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from mat2spec.crystals.claims import VOLUME_TOLERANCE, Claims, elements_among, read_formula
from mat2spec.crystals.numbers import plain_number
from mat2spec.crystals.other_json import as_pymatgen

# Keys of the crystal in documents, in order of priority.
STRUCTURE_KEYS = ("structure", "final_structure", "output", "calc", "entry", "data", "atoms", "attributes")
ID_KEYS = ("material_id", "mp_id", "task_id", "entry_id", "id", "identifier", "jid")
# Wrappers around several crystals: API responses, documents by name.
LIST_KEYS = ("data", "structures", "entries", "docs", "results", "response")
# Keys of a DataFrame as published by matbench.
MATBENCH_KEYS = {"index", "columns", "data"}
# Tolerance between the lattice of a structure file and its lengths or coordinates.
CONSISTENCY_A = 0.02
MAX_DEPTH = 4
# Occupancies that are one but for rounding.
_ROUNDING = 1e-3
_ANGLE_TOLERANCE_DEG = 0.5


_LENGTHS, _ANGLES = ("a", "b", "c"), ("alpha", "beta", "gamma")
_SLAB = "The structure is not periodic in all three directions ('pbc'); give a crystal."


class StructureJsonError(ValueError):
    """An entry of a JSON file is not a crystal; the message says what it is."""


def parse(text: str) -> Any:
    """Content of JSON text, with both of two crystals of one name.

    Raises
    ------
    StructureJsonError
        If anything else occurs twice in a mapping: which of them is meant, nobody knows.
    json.JSONDecodeError
        If the text is no JSON.
    """
    return json.loads(text, object_pairs_hook=_unique_keys)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) == len(pairs):
        return mapping
    mapping = {}
    for key, value in pairs:
        name, number = key, 2
        while name in mapping:
            if _find(value) is None:
                raise StructureJsonError(f"The key '{key}' occurs twice in a mapping; leave the one that is meant.")
            name, number = f"{key}-{number}", number + 1
        mapping[name] = value
    return mapping


def entries_of(content: Any) -> Iterator[tuple[str, Any]]:
    """Name and content of each entry: "" for a single crystal, else identifiers, keys or numbers from 1."""
    if isinstance(content, str) and content.lstrip().startswith(("{", "[")):
        content = parse(content)
    if isinstance(content, dict) and _holds_crystal(content):
        yield _name(content), content
        return
    if isinstance(content, dict) and content.keys() >= MATBENCH_KEYS:
        yield from _entries_of_matbench(content)
        return
    if isinstance(content, dict) and isinstance(content.get("structure"), dict):
        content = _by_row(content)
    if isinstance(content, dict):
        inner = next((content[key] for key in LIST_KEYS if isinstance(content.get(key), list)), None)
        if inner is None:
            if content and all(_find(entry) is None for entry in content.values()):
                raise StructureJsonError(f"The file holds {_kind_of_mapping(content)}.")
            yield from ((str(key), entry) for key, entry in content.items() if not str(key).startswith("@"))
            return
        content = inner
    if not isinstance(content, list):
        raise StructureJsonError(
            f"The file holds {_kind(content)}, not a crystal: a structure, a list or a mapping of them."
        )
    for number, entry in enumerate(content, 1):
        yield (_name(entry) if isinstance(entry, dict) else "") or str(number), entry


def _kind_of_mapping(content: dict[str, Any]) -> str:
    named = f"a {content['@class']}" if isinstance(content.get("@class"), str) else "a mapping"
    listed = ", ".join(key for key in list(content)[:8] if not key.startswith("@"))
    if "sites" in content and "lattice" not in content:
        return f"{named} with {listed}, not a crystal: it has sites but no lattice, as a molecule"
    return f"{named} with {listed}, not a crystal: lattice and sites are missing"


def _by_row(content: dict[str, Any]) -> dict[str, Any]:
    """Structures of a DataFrame in the shape that pandas writes (`orient="columns"`), by identifier or row."""
    rows = content["structure"]
    if not any(_find(entry) is not None for entry in rows.values()):
        return content
    names: dict[str, Any] = next((content[key] for key in ID_KEYS if isinstance(content.get(key), dict)), {})
    return _unique_keys([(str(names.get(row, row)), entry) for row, entry in rows.items()])


def _entries_of_matbench(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries of a DataFrame in the shape that matbench publishes (`orient="split"`)."""
    columns = content["columns"]
    if not isinstance(columns, list) or "structure" not in columns:
        raise StructureJsonError(f"The table has the columns {columns}, none of them is 'structure'.")
    if len(content["index"]) != len(content["data"]):
        raise StructureJsonError(
            f"The table has {len(content['index'])} names but {len(content['data'])} rows; one of the lists is incomplete."
        )
    place = columns.index("structure")
    for name, row in zip(content["index"], content["data"], strict=True):
        yield str(name), row[place] if isinstance(row, list) and len(row) > place else row


def read_entry(entry: Any) -> Structure:
    """The crystal of one entry.

    Raises
    ------
    StructureJsonError
        If it holds no crystal or contradicts itself.
    """
    document = entry if isinstance(entry, dict) else {}
    found = _find(entry)
    if found is None:
        held = f" with {', '.join(list(document)[:5])}" if document else ""
        raise StructureJsonError(f"This is {_kind(entry)}{held}, not a crystal: lattice and sites are missing.")
    structure = _structure(found)
    problem = _claims_of(found.get("claims", document)).contradiction(structure) if structure.is_ordered else None
    if problem:
        raise StructureJsonError(problem)
    return structure


def _holds_crystal(content: Any) -> bool:
    return isinstance(content, dict) and _find(content) is not None and not _is_wrapper(content)


def _is_wrapper(content: dict[str, Any]) -> bool:
    return "lattice" not in content and any(isinstance(content.get(key), list) for key in LIST_KEYS)


def _find(entry: Any, depth: int = 0) -> dict[str, Any] | None:
    """The structure within an entry, by the keys used in documents."""
    if isinstance(entry, str) and entry.lstrip().startswith("{"):
        entry = _parsed(entry)
    if not isinstance(entry, dict) or depth > MAX_DEPTH:
        return None
    if "lattice" in entry and "sites" in entry:
        return entry
    other = as_pymatgen(entry)
    if other is not None:
        return other
    inside = (_find(entry[key], depth + 1) for key in STRUCTURE_KEYS if key in entry)
    return next((found for found in inside if found is not None), None)


def _parsed(text: str) -> Any:
    """A structure that a table kept as text."""
    try:
        return parse(text)
    except ValueError:
        return None


def _name(entry: dict[str, Any]) -> str:
    inner = entry.get("data")
    names = [entry.get(key) for key in ID_KEYS] + [inner.get(key) for key in ID_KEYS if isinstance(inner, dict)]
    return next((str(name) for name in names if isinstance(name, str | int) and str(name)), "")


def _structure(found: dict[str, Any]) -> Structure:
    lattice = _lattice(found["lattice"])
    if not _is_periodic(found.get("pbc", True)):
        raise StructureJsonError(_SLAB)
    sites = found["sites"]
    if not isinstance(sites, list) or not sites:
        raise StructureJsonError("The structure has no sites.")
    species, coordinates = [], []
    for number, site in enumerate(sites, 1):
        if not isinstance(site, dict):
            raise StructureJsonError(f"Site {number} is {_kind(site)}, not a site.")
        species.append(_species(site, number))
        coordinates.append(_coordinates(site, lattice, number))
    charge = found.get("charge")
    if isinstance(charge, str):
        charge = plain_number(charge)
    return Structure(lattice, species, coordinates, charge=charge if isinstance(charge, int | float) else None)


def _lattice(given: Any) -> Lattice:
    matrix = given.get("matrix") if isinstance(given, dict) else given
    try:
        lattice = Lattice(_array(matrix, 9).reshape(3, 3)) if matrix is not None else _by_parameters(given)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        if isinstance(error, StructureJsonError):
            raise
        raise StructureJsonError("The lattice is not three vectors of three numbers.") from error
    if not np.isfinite(lattice.matrix).all():
        raise StructureJsonError("The lattice contains non-finite numbers.")
    if isinstance(given, dict):
        if not _is_periodic(given.get("pbc", True)):
            raise StructureJsonError(_SLAB)
        _check_lattice(lattice, given)
    return lattice


def _is_periodic(given: Any) -> bool:
    if isinstance(given, str):
        return not set(given.lower()) & set("f0")
    return all(given if isinstance(given, list) else [given])


def _array(value: Any, size: int) -> np.ndarray:
    """Numbers, also written as text, of which there must be as many; raises `ValueError` or `TypeError` for anything else."""
    entries = np.array(value, dtype=object).ravel().tolist()
    if any(isinstance(entry, bool) for entry in entries):
        raise TypeError("a flag")
    return np.array(entries, dtype=np.float64).reshape(size)


def _by_parameters(given: dict[str, Any]) -> Lattice:
    lengths, angles = (_array([given[key] for key in keys], 3) for keys in (_LENGTHS, _ANGLES))
    cosines = np.cos(np.radians(angles))
    closed = 1 - (cosines**2).sum() + 2 * cosines.prod() > 0
    if not ((lengths > 0).all() and (angles > 0).all() and (angles < 180).all() and closed):
        words = ", ".join(f"{value:g}" for value in (*lengths, *angles))
        raise StructureJsonError(f"No cell has the lengths and angles {words}.")
    return Lattice.from_parameters(*lengths, *angles)


def _check_lattice(lattice: Lattice, given: dict[str, Any]) -> None:
    """Refuse vectors that contradict the volume, the lengths or the angles beside them."""
    volume = _positive(given.get("volume"))
    if volume is not None and abs(lattice.volume / volume - 1) > VOLUME_TOLERANCE:
        raise StructureJsonError(
            f"The lattice gives a volume of {volume:g}, but its vectors have {lattice.volume:g} cubic Angstrom: one of "
            "them is wrong."
        )
    values = zip((*_LENGTHS, *_ANGLES), (*lattice.abc, *lattice.angles), strict=True)
    for key, value in values:
        stated, unit = given.get(key), "Angstrom" if key in _LENGTHS else "degrees"
        tolerance = max(CONSISTENCY_A, 0.005 * value) if key in _LENGTHS else _ANGLE_TOLERANCE_DEG
        if isinstance(stated, int | float) and abs(stated - value) > tolerance:
            raise StructureJsonError(
                f"The lattice gives {key} = {stated:g}, but its vectors have {value:g} {unit}: one of them is wrong."
            )


def _species(site: dict[str, Any], number: int) -> dict[str, float]:
    given = site.get("species", site.get("element", site.get("label")))
    parts = [given] if isinstance(given, str) else given
    found: dict[str, float] = {}
    for part in parts if isinstance(parts, list) else []:
        symbol = part if isinstance(part, str) else part.get("element") if isinstance(part, dict) else None
        if not isinstance(symbol, str) or not Element.is_valid_symbol(_without_charge(symbol)):
            raise StructureJsonError(f"Site {number} holds '{symbol}', which is not an element.")
        occupancy = part.get("occu", 1) if isinstance(part, dict) else 1
        if not isinstance(occupancy, int | float) or not 0 <= occupancy <= 1:
            raise StructureJsonError(f"Site {number} has the occupancy {occupancy!r}; give a number from 0 to 1.")
        attached = part.get("attached") if isinstance(part, dict) else None
        if attached:
            raise StructureJsonError(
                f"Site {number} has {attached} attached, which have no coordinates; give them sites."
            )
        symbol = _without_charge(symbol)
        found[symbol] = found.get(symbol, 0.0) + occupancy
    if not found:
        raise StructureJsonError(f"Site {number} holds no element.")
    if len(found) == 1 and abs(sum(found.values()) - 1) < _ROUNDING:
        return dict.fromkeys(found, 1.0)
    return found


def _without_charge(symbol: str) -> str:
    return symbol.rstrip("+-0123456789.")


def _coordinates(site: dict[str, Any], lattice: Lattice, number: int) -> np.ndarray:
    try:
        fractional = None if site.get("abc") is None else _array(site["abc"], 3)
        cartesian = None if site.get("xyz") is None else _array(site["xyz"], 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise StructureJsonError(f"The coordinates of site {number} are not three numbers.") from error
    if fractional is None and cartesian is None:
        raise StructureJsonError(f"Site {number} has no coordinates ('abc' or 'xyz').")
    if fractional is None:
        assert cartesian is not None
        return lattice.get_fractional_coords(cartesian)
    if cartesian is not None:
        apart = fractional - lattice.get_fractional_coords(cartesian)
        apart -= np.round(apart)
        distance = float(np.linalg.norm(lattice.get_cartesian_coords(apart)))
        if not distance <= CONSISTENCY_A:
            raise StructureJsonError(
                f"The fractional and the Cartesian coordinates of site {number} are {distance:.3g} Angstrom apart: 'abc' or "
                "'xyz' is in another unit or belongs to another cell."
            )
    return fractional


def _claims_of(document: dict[str, Any]) -> Claims:
    """What a document states about its crystal; only for documents, not for bare structures."""
    if "sites" in document:
        return Claims()
    formula = document.get("formula_pretty") or document.get("formula") or ""
    composition = document.get("composition") or document.get("composition_reduced")
    if isinstance(composition, dict):
        formula = " ".join(f"{key}{value}" for key, value in composition.items() if isinstance(value, int | float))
    listed, sites = document.get("elements"), document.get("nsites")
    if listed is None and isinstance(document.get("chemsys"), str):
        listed = document["chemsys"].split("-")
    return Claims(
        formula=read_formula(formula) if isinstance(formula, str) else {},
        elements=elements_among(listed if isinstance(listed, list) else ()),
        n_sites=int(sites) if isinstance(sites, int | float) and float(sites).is_integer() else None,
        volume=_positive(document.get("volume")),
        density=_positive(document.get("density")),
    )


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "a text", int: "a number", float: "a number", bool: "a flag"}
    return kinds.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")
