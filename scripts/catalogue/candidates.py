"""The crystals to relax: known compounds of the AFLOW library, and element substitutions into its prototypes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Composition, Element, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from scripts.catalogue.settings import CatalogueSettings
from scripts.catalogue.symmetry import SymmetricCell, symmetric_cell
from scripts.catalogue.templates import REQUIRED, TEMPLATES, Template

MAX_ATOMIC_NUMBER = 94
"""Heaviest element that CHGNet knows."""


@dataclass(frozen=True)
class Prototype:
    """A structure type with its element slots.

    Attributes
    ----------
    key
        Unique name: the AFLOW label, and the species where several entries share it or orbits are split.
    label
        AFLOW label.
    species
        Name of each slot, as templates use it.
    cell
        Symmetry and geometry.
    """

    key: str
    label: str
    species: tuple[str, ...]
    cell: SymmetricCell


@dataclass(frozen=True)
class Candidate:
    """A crystal before relaxation: elements on the slots of a prototype.

    Attributes
    ----------
    material_id
        Stable identifier, made of origin, prototype and elements.
    prototype
        Key of the prototype.
    elements
        Element symbol of each slot.
    scale
        Estimated lattice scale relative to the prototype's cell; 1 for known compounds.
    origin
        "aflow" or "substitution".
    """

    material_id: str
    prototype: str
    elements: tuple[str, ...]
    scale: float
    origin: str


@cache
def covalent_radii() -> NDArray[np.float64]:
    """Covalent radius by atomic number in Angstrom, (MAX_ATOMIC_NUMBER + 1,)."""
    radii = np.full(MAX_ATOMIC_NUMBER + 1, 1.6)
    for symbol, radius in CovalentRadius.radius.items():
        number = Element(symbol).Z if Element.is_valid_symbol(symbol) else MAX_ATOMIC_NUMBER + 1
        if number <= MAX_ATOMIC_NUMBER:
            radii[number] = radius
    return radii


@cache
def library() -> tuple[tuple[str, Structure], ...]:
    """AFLOW label and structure of the known compounds, in the library's order."""
    return tuple((entry["tags"]["aflow"], entry["snl"].structure) for entry in AFLOW_PROTOTYPE_LIBRARY)


def idealised_primitive(structure: Structure) -> Structure:
    """Return the primitive cell with exactly symmetric lattice and coordinates, properties stripped."""
    plain = Structure(structure.lattice, [site.specie.Z for site in structure], structure.frac_coords)
    refined = SpacegroupAnalyzer(plain, symprec=0.01).get_refined_structure()
    primitive = SpacegroupAnalyzer(refined, symprec=1e-3).find_primitive()
    if primitive is None:
        raise ValueError(f"No primitive cell was found for {structure.formula}.")
    return primitive


def known_prototype(index: int) -> Prototype:
    """Return entry `index` of the library with one slot per element."""
    label, structure = library()[index]
    primitive = idealised_primitive(structure)
    species = tuple(sorted({site.specie.symbol for site in primitive}))
    slots = np.array([species.index(site.specie.symbol) for site in primitive])
    return Prototype(f"known-{index:03d}-{label}", label, species, symmetric_cell(primitive, slots))


def template_prototype(template: Template) -> Prototype:
    """Return the prototype of a template, its slots in the order of the template's pools."""
    names = tuple(template.pools)
    wanted = {name.rstrip("12") for name in names}
    matches = [
        structure
        for label, structure in library()
        if label == template.prototype and {e.symbol for e in structure.composition.elements} == wanted
    ]
    if not matches:
        raise ValueError(f"The AFLOW library has no {template.prototype} of {', '.join(sorted(wanted))}.")
    primitive = idealised_primitive(matches[0])
    slots = np.array([names.index(name) for name in _slot_names(primitive, names)])
    key = f"{template.prototype}-{''.join(names)}"
    return Prototype(key, template.prototype, names, symmetric_cell(primitive, slots))


def _slot_names(structure: Structure, names: tuple[str, ...]) -> list[str]:
    """Name of each site's slot: the species, numbered by orbit where the template splits it."""
    orbits = SpacegroupAnalyzer(structure, symprec=1e-3).get_symmetry_dataset().equivalent_atoms
    symbols = [site.specie.symbol for site in structure]
    if set(symbols) == set(names):
        return symbols
    rank = {orbit: sorted({o for o, t in zip(orbits, symbols, strict=True) if t == s}).index(orbit) + 1
            for orbit, s in zip(orbits, symbols, strict=True)}  # fmt: skip
    return [s if s in names else f"{s}{rank[o]}" for s, o in zip(symbols, orbits, strict=True)]


def substitutions(template: Template, settings: CatalogueSettings) -> Iterator[tuple[str, ...]]:
    """Yield the element combinations of a template, sampled evenly by a seeded hash, required ones first."""
    required = [
        elements
        for label, elements in REQUIRED
        if label == template.prototype and len(elements) == len(template.pools)
        and all(e in pool for e, pool in zip(elements, template.pools.values(), strict=True))
    ]  # fmt: skip
    combinations = [c for c in itertools.product(*template.pools.values()) if len(set(c)) == len(c)]
    if template.interchangeable:
        combinations = sorted({(min(c), max(c)) for c in combinations})
    combinations.sort(key=lambda elements: _hash(settings.seed, template.prototype, elements))
    quota = max(1, round(template.quota * settings.sampling_fraction))
    yield from dict.fromkeys([*required, *combinations[:quota]])


def _hash(seed: int, prototype: str, elements: tuple[str, ...]) -> str:
    return hashlib.sha256(f"{seed}/{prototype}/{'-'.join(elements)}".encode()).hexdigest()


def known_candidates(settings: CatalogueSettings) -> tuple[list[Candidate], dict[str, Prototype], dict[str, int]]:
    """Return the known compounds, their prototypes, and how many were left out for which reason."""
    candidates, prototypes = [], {}
    left_out = {"element unknown to CHGNet": 0, "known compound with too large a cell": 0}
    for index, (_, structure) in enumerate(library()):
        if max(site.specie.Z for site in structure) > MAX_ATOMIC_NUMBER:
            left_out["element unknown to CHGNet"] += 1
            continue
        prototype = known_prototype(index)
        if len(prototype.cell.frac_coords) > settings.max_known_sites:
            left_out["known compound with too large a cell"] += 1
            continue
        prototypes[prototype.key] = prototype
        identifier = f"cat-aflow-{index:03d}-{structure.composition.reduced_formula}"
        candidates.append(Candidate(identifier, prototype.key, prototype.species, 1.0, "aflow"))
    return candidates, prototypes, left_out


def substitution_candidates(settings: CatalogueSettings) -> tuple[list[Candidate], dict[str, Prototype]]:
    """Return the substituted crystals, sorted by template and size, and their prototypes."""
    candidates: list[Candidate] = []
    prototypes: dict[str, Prototype] = {}
    for template in TEMPLATES:
        prototype = template_prototype(template)
        prototypes.setdefault(prototype.key, prototype)
        taken = {c.elements for c in candidates if c.prototype == prototype.key}
        batch = [
            _substituted(prototype, elements) for elements in substitutions(template, settings) if elements not in taken
        ]
        candidates += sorted(batch, key=lambda candidate: (candidate.scale, candidate.material_id))
    return candidates, prototypes


def _substituted(prototype: Prototype, elements: tuple[str, ...]) -> Candidate:
    _, pearson, space_group, *_ = prototype.label.split("_")
    identifier = "-".join(["cat", pearson, space_group, "".join(prototype.species), *elements])
    return Candidate(identifier, prototype.key, elements, _scale(prototype, elements), "substitution")


def _scale(prototype: Prototype, elements: tuple[str, ...]) -> float:
    """Contact scale from cached nearest-neighbour pairs of slots."""
    radii = covalent_radii()[[Element(symbol).Z for symbol in elements]]
    pairs = _nearest_pairs(prototype)
    return round(float(max((radii[a] + radii[b]) / length for (a, b), length in pairs.items())), 6)


_PAIRS: dict[str, dict[tuple[int, int], float]] = {}


def _nearest_pairs(prototype: Prototype) -> Mapping[tuple[int, int], float]:
    """Shortest nearest-neighbour length in Angstrom of each pair of slots that touches."""
    if prototype.key not in _PAIRS:
        cell = prototype.cell
        structure = Structure(cell.lattice, ["H"] * len(cell.slots), cell.frac_coords)
        centers, sites, _, lengths = structure.get_neighbor_list(r=1.8 * (structure.volume / len(structure)) ** (1 / 3))
        nearest = np.full(len(structure), np.inf)
        np.minimum.at(nearest, centers, lengths)
        pairs: dict[tuple[int, int], float] = {}
        for center, site, length in zip(centers, sites, lengths, strict=True):
            if length < 1.1 * nearest[center]:
                a, b = sorted((int(cell.slots[center]), int(cell.slots[site])))
                pairs[a, b] = min(pairs.get((a, b), np.inf), float(length))
        _PAIRS[prototype.key] = pairs
    return _PAIRS[prototype.key]


def charge_balanced(composition: Composition) -> bool:
    """Tell whether common oxidation states, one per element, sum to zero; elements count as balanced."""
    elements = sorted(composition.elements, key=lambda element: element.X)
    if len(elements) == 1:
        return True
    amounts = [composition[element] for element in elements]
    states = [element.common_oxidation_states or element.oxidation_states for element in elements]
    return any(
        abs(sum(n * q for n, q in zip(amounts, combination, strict=True))) < 1e-6
        and combination[-1] < 0 < combination[0]
        for combination in itertools.product(*states)
    )
