"""Symmetry operations of space groups that files name without listing the operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core.operations import SymmOp

N_HALL_SYMBOLS = 530
# Tolerance for lengths and angles that symmetry requires to be equal.
_METRIC_TOLERANCE = 0.02
# Tolerance for translations written with few digits, as 0.33.
_GROUP_TOLERANCE = 0.02
_SHARE = r"(?:\d+\.?\d*|\.\d+)(?:/\d+)?"
_COMPONENT = re.compile(rf"(?:[+-]?(?:{_SHARE}\*?)?[xyz]|[+-]?{_SHARE})+", re.ASCII)
_MONOCLINIC_GROUPS = range(3, 16)
_FIRST_CUBIC_GROUP = 195
# Names of the settings of a group in databases: origin at a point of high symmetry (1, S) or at an inversion centre
# (2, Z), hexagonal (H) or rhombohedral axes (R).
_SETTINGS = {"1": "1", "2": "2", "s": "1", "z": "2", "h": "H", "r": "R"}


# Symbols with the glide plane e, by number of the Hall symbol.
_NAMES_BEFORE_1992 = {
    **dict(zip(range(191, 197), ("A b m 2", "B m a 2", "B 2 c m", "C 2 m b", "C m 2 a", "A c 2 m"), strict=True)),
    **dict(zip(range(203, 209), ("A b a 2", "B b a 2", "B 2 c b", "C 2 c b", "C c 2 a", "A c 2 a"), strict=True)),
    **dict(zip(range(304, 310), ("C m c a", "C c m b", "A b m a", "A c a m", "B b c m", "B m a b"), strict=True)),
    **dict(zip(range(316, 322), ("C m m a", "C m m b", "A b m m", "A c m m", "B m c m", "B m a m"), strict=True)),
    **dict.fromkeys((322, 323), "C c c a"),
}


def _group(hall_number: int) -> Any:
    return spglib.get_spacegroup_type(hall_number)


class SpaceGroupSetting(NamedTuple):
    """One of the 530 settings of the 230 space groups: number of its Hall symbol, of its group, and which setting."""

    hall_number: int
    number: int
    choice: str

    @property
    def name(self) -> str:
        """Symbol of the group followed by the setting, as in "F d -3 m:2"."""
        symbol = _group(self.hall_number).international.split(" = ")[0].replace("_", "")
        return f"{symbol}:{self.choice}" if self.choice in {"1", "2", "H", "R"} else symbol


@lru_cache(maxsize=1)
def _settings() -> tuple[
    dict[str, list[SpaceGroupSetting]], dict[str, list[SpaceGroupSetting]], dict[int, list[SpaceGroupSetting]]
]:
    """Settings by Hall symbol, by Hermann-Mauguin symbol, and by number (standard axes only)."""
    by_hall: dict[str, list[SpaceGroupSetting]] = {}
    by_symbol: dict[str, list[SpaceGroupSetting]] = {}
    by_number: dict[int, list[SpaceGroupSetting]] = {}
    for hall_number in range(1, N_HALL_SYMBOLS + 1):
        kind = _group(hall_number)
        setting = SpaceGroupSetting(hall_number, kind.number, kind.choice)
        by_hall.setdefault(_plain(kind.hall_symbol), []).append(setting)
        names = _names(kind.international, kind.number, kind.choice)
        for name in names | {_plain(_NAMES_BEFORE_1992[hall_number])} if hall_number in _NAMES_BEFORE_1992 else names:
            by_symbol.setdefault(name, []).append(setting)
        standard = by_number.setdefault(kind.number, [])
        if not standard or setting.choice in {"1", "2", "H", "R"}:
            standard.append(setting)
    return by_hall, by_symbol, by_number


def settings_named(hall: str = "", hermann_mauguin: str = "", number: int | None = None) -> list[SpaceGroupSetting]:
    """Settings that a file may mean; the Hall symbol has priority over the Hermann-Mauguin symbol, that over the number.

    Several if the symbol leaves the origin or the axes open; none if nothing known is given.
    """
    by_hall, by_symbol, by_number = _settings()
    if hall and _plain(hall) in by_hall:
        return by_hall[_plain(hall)]
    if hermann_mauguin:
        symbol, choice = _split_choice(hermann_mauguin)
        named = by_symbol.get(_plain(symbol), [])
        if choice:
            named = [setting for setting in named if not setting.choice or setting.choice.startswith(choice)]
        if named:
            return named
    return by_number.get(number or 0, [])


def short_symbol(number: int) -> str:
    """Short Hermann-Mauguin symbol of a space group in its standard setting, as databases write it.

    Examples
    --------
    >>> short_symbol(14), short_symbol(225)
    ('P2_1/c', 'Fm-3m')
    """
    return str(_group(settings_named(number=number)[0].hall_number).international_short)


def operations(setting: SpaceGroupSetting) -> list[str]:
    """Symmetry operations as a CIF lists them, as in "-x, y+1/2, z"."""
    database: Any = spglib.get_symmetry_from_database(setting.hall_number)
    return [
        SymmOp.from_rotation_and_translation(rotation, translation).as_xyz_str()
        for rotation, translation in zip(database["rotations"], database["translations"], strict=True)
    ]


def fit_lattice(listed: Sequence[str], lattice: NDArray[np.float64]) -> bool:
    """Whether symmetry operations, as a CIF lists them, keep all lengths and angles of a lattice, shape (3, 3)."""
    rotations = np.array([SymmOp.from_xyz_str(text).rotation_matrix for text in listed])
    metric = lattice @ lattice.T
    turned = np.einsum("nji,jk,nkl->nil", rotations, metric, rotations)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return bool((np.abs(turned - metric) <= _METRIC_TOLERANCE * scale).all())


def problem_of_operations(listed: Sequence[str]) -> str | None:
    """Why symmetry operations, as a CIF lists them, are none of a crystal, as a sentence, or None."""
    wrong = next((text for text in listed if not _is_operation(text)), None)
    if wrong is not None:
        return f"'{wrong}' in the list of symmetry operations is not one, as '-x, y+1/2, z' is."
    parsed = [SymmOp.from_xyz_str(_plain(text)) for text in listed]
    rotations = np.array([np.rint(operation.rotation_matrix) for operation in parsed], dtype=np.int64)
    if not _form_group(rotations, np.array([operation.translation_vector for operation in parsed])):
        return (
            "The symmetry operations in the list do not form a group: some are missing or wrong, such as the identity "
            "'x, y, z' or a centring. List all of them."
        )
    return None


def _is_operation(text: str) -> bool:
    parts = _plain(text).split(",")
    if len(parts) != 3 or not all(_COMPONENT.fullmatch(part) for part in parts):
        return False
    rotation = SymmOp.from_xyz_str(_plain(text)).rotation_matrix
    return bool(np.allclose(rotation, np.rint(rotation)) and abs(abs(np.linalg.det(rotation)) - 1) < _GROUP_TOLERANCE)


def _form_group(rotations: NDArray[np.int64], translations: NDArray[np.float64]) -> bool:
    """Whether the product of any two operations is one of them, and the identity too, apart from lattice vectors."""
    shifts: dict[bytes, list[NDArray[np.float64]]] = {}
    for rotation, translation in zip(rotations, translations, strict=True):
        shifts.setdefault(rotation.tobytes(), []).append(translation)
    if not _is_among(np.zeros(3), shifts.get(np.eye(3, dtype=np.int64).tobytes(), [])):
        return False
    return all(
        _is_among(shift, shifts.get(product.tobytes(), []))
        for rotation, translation in zip(rotations, translations, strict=True)
        for product, shift in zip(rotation @ rotations, translations @ rotation.T + translation, strict=True)
    )


def _is_among(shift: NDArray[np.float64], translations: list[NDArray[np.float64]]) -> bool:
    if not translations:
        return False
    apart = np.array(translations) - shift
    return bool((np.abs(apart - np.rint(apart)).max(axis=1) < _GROUP_TOLERANCE).any())


def _plain(symbol: str) -> str:
    return re.sub(r"[\s_'\"]", "", symbol).lower()


def _names(international: str, number: int, choice: str) -> set[str]:
    """Symbols of a setting: short, full, and in the pre-1983 notation of cubic groups."""
    names = {_plain(name) for name in international.split(" = ")}
    if number in _MONOCLINIC_GROUPS:
        # The short symbol implies the axis b: P 21/n is P 1 21/n 1.
        full = international.rsplit(" = ", maxsplit=1)[-1].split()
        return {_plain("".join(full)), *([_plain(full[0] + full[2])] if choice.startswith("b") else [])}
    if number >= _FIRST_CUBIC_GROUP:
        names |= {name.replace("-3", "3") for name in names}
    return names


def _split_choice(symbol: str) -> tuple[str, str]:
    """Symbol without its setting, and the setting; "" if none is given."""
    found = re.fullmatch(r"\s*(.*?)(?:\s*:\s*|\s+)([12szhr])\s*", symbol, flags=re.IGNORECASE)
    if found is None or (":" not in symbol and found[2] in "12"):
        return symbol, ""
    return found[1], _SETTINGS[found[2].lower()]
