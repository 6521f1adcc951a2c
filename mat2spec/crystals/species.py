"""Species on the sites of a crystal that are more, or less, than an element."""

from __future__ import annotations

from pymatgen.core import Element, Structure

ISOTOPES = {"D": "deuterium", "T": "tritium"}
# Masses in u above which hydrogen is an isotope, the heaviest first.
_HEAVY_HYDROGEN = {"T": 2.5, "D": 1.5}


def isotope_of_mass(symbol: str, mass_u: object) -> str:
    """D or T for hydrogen of such a mass; any other symbol, and any without a mass, unchanged."""
    if symbol != "H" or not isinstance(mass_u, int | float):
        return symbol
    return next((isotope for isotope, lightest in _HEAVY_HYDROGEN.items() if mass_u > lightest), symbol)


def symbol_of(species: object) -> str:
    """Symbol of an element, ignoring charge, including D and T; the symbol of a dummy unchanged."""
    element = getattr(species, "element", species)
    return element.name if isinstance(element, Element) else str(getattr(species, "symbol", species))


def unknown_species(structure: Structure) -> list[str]:
    """Symbols on the sites that are not elements: vacancies, dummies, groups of atoms."""
    found = {symbol_of(species) for species in structure.composition}
    return sorted(symbol for symbol in found if not Element.is_valid_symbol(symbol))


def isotopes(structure: Structure) -> list[str]:
    """Isotopes of hydrogen on the sites; models, which know only atomic numbers, treat them as hydrogen."""
    return sorted({symbol_of(species) for site in structure for species in site.species} & set(ISOTOPES))
