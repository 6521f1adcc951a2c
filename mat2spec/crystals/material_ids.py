"""Identifiers that name the same material in two spellings: databases count in digits, and lately in letters.

The Materials Project writes "mp-149", "mp-ft" and, padded to eight letters, "mp-aaaaaaft" of one material: the letters a to
z are the digits 0 to 25 of its number. Tables, lists and stores of different years are matched by `in_digits`; no name is
changed that way in a result.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_LETTERS = re.compile(r"(mp|mvc)[-:_]([a-z]+)")
_PADDED_LENGTH = 8
_DIGITS = re.compile(r"(mp|mvc)[-:_]0*([0-9]+)")


def in_digits(material_id: str) -> str:
    """The identifier in the older spelling; one of another kind as it is.

    Examples
    --------
    >>> in_digits("mp-aaaaaaft"), in_digits("mp-ft"), in_digits("mp-149"), in_digits("my-crystal")
    ('mp-149', 'mp-149', 'mp-149', 'my-crystal')
    """
    found = _LETTERS.fullmatch(material_id)
    if found:
        number = 0
        for letter in found[2]:
            number = 26 * number + ord(letter) - ord("a")
        return f"{found[1]}-{number}"
    found = _DIGITS.fullmatch(material_id)
    return f"{found[1]}-{found[2]}" if found else material_id


def spellings(material_id: str) -> list[str]:
    """All spellings of an identifier, itself first.

    Examples
    --------
    >>> spellings("mp-149"), spellings("my-crystal")
    (['mp-149', 'mp-ft', 'mp-aaaaaaft'], ['my-crystal'])
    """
    in_numbers = in_digits(material_id)
    found = _DIGITS.fullmatch(in_numbers)
    if found is None:
        return [material_id]
    number, letters = int(found[2]), ""
    while number or not letters:
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    padded = letters.rjust(_PADDED_LENGTH, "a")
    return list(dict.fromkeys([material_id, in_numbers, f"{found[1]}-{letters}", f"{found[1]}-{padded}"]))


def spelled_as_in(known: Iterable[str], material_ids: Iterable[str]) -> list[str]:
    """Identifiers in the spelling that `known` has for them; those that it does not have as they are."""
    exact = {str(name) for name in known}
    spellings = {in_digits(name): name for name in exact}
    return [name if name in exact else spellings.get(in_digits(name), name) for name in map(str, material_ids)]


def named_by(others: Collection[str], material_ids: Iterable[str]) -> frozenset[str]:
    """Those of some identifiers whose material `others` names too, in whatever spelling."""
    if not others:
        return frozenset()
    numbers = {in_digits(name) for name in others}
    return frozenset(name for name in material_ids if in_digits(name) in numbers)
