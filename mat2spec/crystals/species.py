"""What stands on the sites of a crystal, where it is more, or less, than an element."""

from __future__ import annotations

from pymatgen.core import Element, Structure

ISOTOPES = {"D": "deuterium", "T": "tritium"}


def symbol_of(species: object) -> str:
    """Symbol of an element, charged or not, D and T among them; that of a dummy as it is written."""
    element = getattr(species, "element", species)
    return element.name if isinstance(element, Element) else str(getattr(species, "symbol", species))


def unknown_species(structure: Structure) -> list[str]:
    """Symbols on the sites that are not elements: vacancies, dummies, groups of atoms."""
    found = {symbol_of(species) for species in structure.composition}
    return sorted(symbol for symbol in found if not Element.is_valid_symbol(symbol))


def isotopes(structure: Structure) -> list[str]:
    """Isotopes of hydrogen on the sites; a model that knows atomic numbers takes them for hydrogen."""
    return sorted({symbol_of(species) for site in structure for species in site.species} & set(ISOTOPES))
