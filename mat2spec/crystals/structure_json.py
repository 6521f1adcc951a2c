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


class StructureJsonError(ValueError):
    """An entry of a JSON file is not a crystal; the message says what it is."""


def entries_of(content: Any) -> Iterator[tuple[str, Any]]:
    """Name and content of each entry: "" for a single crystal, else identifiers, keys or numbers from 1."""
    if isinstance(content, dict) and _holds_crystal(content):
        yield _name(content), content
        return
    if isinstance(content, dict) and content.keys() >= MATBENCH_KEYS:
        yield from _entries_of_matbench(content)
        return
    if isinstance(content, dict):
        inner = next((content[key] for key in LIST_KEYS if isinstance(content.get(key), list)), None)
        if inner is None:
            if content and not any(isinstance(entry, dict | list) for entry in content.values()):
                raise StructureJsonError(
                    f"The file holds a mapping with {', '.join(list(content)[:5])}, not a crystal: lattice and sites are "
                    "missing."
                )
            yield from ((str(key), entry) for key, entry in content.items() if not str(key).startswith("@"))
            return
        content = inner
    if not isinstance(content, list):
        raise StructureJsonError(
            f"The file holds {_kind(content)}, not a crystal: a structure, a list or a mapping of them."
        )
    for number, entry in enumerate(content, 1):
        yield (_name(entry) if isinstance(entry, dict) else "") or str(number), entry


def _entries_of_matbench(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries of a DataFrame in the shape that matbench publishes (`orient="split"`)."""
    columns = content["columns"]
    if not isinstance(columns, list) or "structure" not in columns:
        raise StructureJsonError(f"The table has the columns {columns}, none of them is 'structure'.")
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
    problem = _claims_of(document).contradiction(structure) if structure.is_ordered else None
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
        return json.loads(text)
    except ValueError:
        return None


def _name(entry: dict[str, Any]) -> str:
    inner = entry.get("data")
    names = [entry.get(key) for key in ID_KEYS] + [inner.get(key) for key in ID_KEYS if isinstance(inner, dict)]
    return next((str(name) for name in names if isinstance(name, str | int) and str(name)), "")


def _structure(found: dict[str, Any]) -> Structure:
    lattice = _lattice(found["lattice"])
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
    return Structure(lattice, species, coordinates, charge=charge if isinstance(charge, int | float) else None)


def _lattice(given: Any) -> Lattice:
    matrix = given.get("matrix") if isinstance(given, dict) else given
    try:
        if matrix is None:
            matrix = Lattice.from_parameters(
                *(float(given[key]) for key in ("a", "b", "c", "alpha", "beta", "gamma"))
            ).matrix
        rows = np.array(matrix, dtype=np.float64).reshape(3, 3)
    except (TypeError, ValueError, KeyError) as error:
        raise StructureJsonError("The lattice is not three vectors of three numbers.") from error
    lattice = Lattice(rows)
    if isinstance(given, dict):
        periodic = given.get("pbc", True)
        if not all(periodic if isinstance(periodic, list) else [periodic]):
            raise StructureJsonError("The structure is not periodic in all three directions ('pbc'); give a crystal.")
        volume = _positive(given.get("volume"))
        if volume is not None and abs(lattice.volume / volume - 1) > VOLUME_TOLERANCE:
            raise StructureJsonError(
                f"The lattice gives a volume of {volume:g}, but its vectors have {lattice.volume:g} cubic Angstrom: one of "
                "them is wrong."
            )
        for key, length in zip("abc", lattice.abc, strict=True):
            stated = given.get(key)
            if isinstance(stated, int | float) and abs(stated - length) > max(CONSISTENCY_A, 0.005 * length):
                raise StructureJsonError(
                    f"The lattice gives {key} = {stated:g}, but its vectors have {length:g} Angstrom: one of them is wrong."
                )
    return lattice


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
            raise StructureJsonError(f"Site {number} has the occupancy {occupancy}; give a number from 0 to 1.")
        symbol = _without_charge(symbol)
        found[symbol] = found.get(symbol, 0.0) + occupancy
    if not found:
        raise StructureJsonError(f"Site {number} holds no element.")
    return found


def _without_charge(symbol: str) -> str:
    return symbol.rstrip("+-0123456789.")


def _coordinates(site: dict[str, Any], lattice: Lattice, number: int) -> np.ndarray:
    try:
        fractional = None if site.get("abc") is None else np.array(site["abc"], dtype=np.float64).reshape(3)
        cartesian = None if site.get("xyz") is None else np.array(site["xyz"], dtype=np.float64).reshape(3)
    except (TypeError, ValueError) as error:
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
    composition = document.get("composition")
    if isinstance(composition, dict):
        formula = " ".join(f"{key}{value}" for key, value in composition.items() if isinstance(value, int | float))
    listed = document.get("elements")
    return Claims(
        formula=read_formula(formula) if isinstance(formula, str) else {},
        elements=elements_among(listed if isinstance(listed, list) else ()),
        n_sites=document["nsites"] if isinstance(document.get("nsites"), int) else None,
        volume=_positive(document.get("volume")),
        density=_positive(document.get("density")),
    )


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "a text", int: "a number", float: "a number", bool: "a flag"}
    return kinds.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")
