"""Ground states of the free atoms and the valence shells that make the basis."""

from __future__ import annotations

from pymatgen.core import Element

# Hydrogen to radon, radium to uranium: what the tables cover. At, Fr and what lies beyond uranium is not tabulated.
ELEMENTS = (*range(1, 87), *range(88, 93))
NOBLE_GASES = (2, 10, 18, 36, 54, 86)
_L_OF_LETTER = {"s": 0, "p": 1, "d": 2, "f": 3}
# Last column of each period with a d shell of the period before among its valence: 12 (group 12) after 4 and 5,
# 26 after 6 (fourteen 4f elements lie between).
_LAST_COLUMN_WITH_D = {4: 12, 5: 12, 6: 26, 7: 99}

Occupation = dict[tuple[int, int], float]


def occupation(atomic_number: int) -> Occupation:
    """Electrons of each shell (n, l) in the ground state of the atom.

    Lanthanides are taken as trivalent, 5d1 6s2, with their other 4f electrons in the core: the basis has no f shell.
    """
    levels = Element.from_Z(atomic_number).full_electronic_structure
    shells = {(int(n), _L_OF_LETTER[letter]): float(electrons) for n, letter, electrons in levels}
    if 57 <= atomic_number <= 71:
        shells.pop((4, 3), None)
        shells |= {(5, 2): 1.0, (6, 0): 2.0}
        if atomic_number > 57:
            shells[4, 3] = float(atomic_number - 57)
    return shells


def valence_shells(atomic_number: int, empty_d: bool = True) -> dict[int, int]:
    """Principal quantum number of each angular momentum in the basis: {l: n}.

    Every element but H and He carries s and p, the elements from K on a d shell while it is filled or a little longer.

    Parameters
    ----------
    atomic_number
        The element.
    empty_d
        Whether elements of the p block from Al on carry the empty d shell above their s and p.
    """
    if atomic_number <= 2:
        return {0: 1}
    period = 1 + sum(atomic_number > noble for noble in NOBLE_GASES)
    column = atomic_number - max(noble for noble in NOBLE_GASES if noble < atomic_number)
    shells = {0: period, 1: period}
    if column <= _LAST_COLUMN_WITH_D.get(period, 0):
        shells[2] = period - 1
    elif empty_d and period >= 3 and column > 2:
        shells[2] = period
    return shells


def valence_electrons(atomic_number: int) -> int:
    """Electrons of the neutral atom in the shells of the basis."""
    electrons = occupation(atomic_number)
    return round(sum(electrons.get((n, l), 0.0) for l, n in valence_shells(atomic_number).items()))
