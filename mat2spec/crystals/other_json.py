"""Structures in the JSON of other databases, in the form of pymatgen's: JARVIS and OPTIMADE."""

from __future__ import annotations

from itertools import chain
from typing import Any

from mat2spec.crystals.species import isotope_of_mass

# K. Choudhary et al., npj Comput. Mater. 6, 173 (2020): `jarvis.core.atoms.Atoms.to_dict`.
_JARVIS = ("lattice_mat", "coords", "elements")
# M. L. Evans et al., Digital Discovery 3, 1509 (2024): attributes of an entry of type structures.
_OPTIMADE = ("lattice_vectors", "cartesian_site_positions", "species_at_sites")


def as_pymatgen(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The lattice and the sites of such a structure; None for any other mapping, or if its lists do not match."""
    for keys, convert in ((_JARVIS, _of_jarvis), (_OPTIMADE, _of_optimade)):
        if all(isinstance(entry.get(key), list) for key in keys) and len(entry[keys[1]]) == len(entry[keys[2]]):
            return convert(entry)
    return None


def _of_jarvis(entry: dict[str, Any]) -> dict[str, Any]:
    cartesian = entry.get("cartesian")
    kind = "xyz" if (cartesian.lower() == "true" if isinstance(cartesian, str) else cartesian) else "abc"
    sites = [
        {"species": [symbol], kind: place} for symbol, place in zip(entry["elements"], entry["coords"], strict=True)
    ]
    stated = [
        zip(names, entry[key], strict=False)
        for names, key in ((("a", "b", "c"), "abc"), (("alpha", "beta", "gamma"), "angles"))
        if isinstance(entry.get(key), list)
    ]
    return {"lattice": {"matrix": entry["lattice_mat"]} | dict(chain.from_iterable(stated)), "sites": sites}


def _of_optimade(entry: dict[str, Any]) -> dict[str, Any]:
    kinds = {kind.get("name"): kind for kind in entry.get("species") or [] if isinstance(kind, dict)}
    sites = [
        {"species": _species(kinds.get(name, {}), name), "xyz": place}
        for name, place in zip(entry["species_at_sites"], entry["cartesian_site_positions"], strict=True)
    ]
    periodic = entry.get("dimension_types") or [1, 1, 1]
    claims = {
        "formula": entry.get("chemical_formula_reduced"),
        "elements": entry.get("elements"),
        "nsites": entry.get("nsites"),
    }
    return {"lattice": {"matrix": entry["lattice_vectors"], "pbc": periodic}, "sites": sites, "claims": claims}


def _species(kind: dict[str, Any], name: Any) -> list[dict[str, Any]]:
    symbols = kind.get("chemical_symbols") or [name]
    shares = kind.get("concentration") or [1] * len(symbols)
    masses = kind.get("mass") or [None] * len(symbols)
    attached = {"attached": kind["attached"]} if kind.get("attached") else {}
    return [
        {"element": isotope_of_mass(symbol, mass), "occu": share} | attached
        for symbol, share, mass in zip(symbols, shares, masses, strict=False)
    ]
