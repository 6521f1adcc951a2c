"""Columns of crystals in Arrow tables, in any of the types that programs write to Parquet.

A lattice may be 9 numbers or 3 lists of 3, coordinates 3 n numbers or n lists of 3, elements numbers or symbols; each of
them may be a list, a list of fixed size, a tensor or a JSON string. Unambiguous rows are read; any other row gets a
sentence and does not affect the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pymatgen.core import Element

from mat2spec.crystals.numbers import plain_number
from mat2spec.crystals.species import ISOTOPES
from mat2spec.tables.columns import Column
from mat2spec.tables.files import TableError
from mat2spec.tables.text import one_line

# JSON strings are flattened to this depth: lists of lists, and the matrix of a lattice within a mapping.
_MAX_DEPTH = 4
# Integers up to here are exact in double precision.
_LARGEST_EXACT = 2**53
# Larger numbers are not elements.
MAX_KNOWN_NUMBER = 999


@dataclass(frozen=True)
class Lists:
    """A column of lists of numbers.

    Parameters
    ----------
    values
        Numbers of all rows, shape (n_values,).
    lengths
        How many of them each row has, shape (n_rows,).
    problems
        Why a row has none, as a sentence, or None; shape (n_rows,).
    """

    values: NDArray[np.float64]
    lengths: NDArray[np.int64]
    problems: NDArray[np.object_]


def identifiers(column: pa.ChunkedArray) -> list[str | None]:
    """Identifiers as text, whatever their type; None where missing.

    Raises
    ------
    TableError
        If the column cannot hold identifiers, such as flags, lists or fractions.
    """
    try:
        return _identifiers(_plain(column), column.type)
    except UnicodeDecodeError as error:
        raise TableError(f"The column {Column.MATERIAL_ID} holds text that is not valid Unicode ({error}).") from error


def identifier_array(column: pa.ChunkedArray) -> pa.Array:
    """The same in an Arrow array, without a Python object for each where the column holds text; raises as `identifiers`."""
    plain = _plain(column)
    if pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type):
        with suppress(pa.ArrowInvalid):  # not valid Unicode
            plain.validate(full=True)
            is_blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(plain)), 0)
            return pc.if_else(is_blank, None, plain.cast(pa.string()))
    return pa.array(identifiers(column), pa.string())


def _identifiers(plain: pa.Array, given: pa.DataType) -> list[str | None]:
    kind = plain.type
    if _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return [_name(value) for value in plain.to_pylist()]
    if _is_binary(kind):
        return [_name(_decoded(value)) for value in plain.to_pylist()]
    if pa.types.is_floating(kind):
        values = plain.to_pylist()
        # Larger ones are not exact: two identifiers may have become one number.
        whole = [
            value is None or value != value or (float(value).is_integer() and abs(value) <= _LARGEST_EXACT)  # noqa: PLR0124  NaN
            for value in values
        ]
        if all(whole):
            return [None if value is None or value != value else str(int(value)) for value in values]  # noqa: PLR0124
    raise TableError(f"The column {Column.MATERIAL_ID} holds {given}; identifiers must be text or integers.")


def _name(value: object) -> str | None:
    """An identifier as text; None if nothing is in it."""
    return None if value is None or not str(value).strip() else str(value)


def numbers_of_lists(column: pa.ChunkedArray, name: str) -> Lists:
    """Numbers of lists, nested or not."""
    leaves, lengths, problems = _leaves(column, name)
    values, bad = _as_numbers(leaves)
    return _without(Lists(values, lengths, problems), bad, f"The {name} of the row are not numbers.")


def atomic_numbers_of_lists(column: pa.ChunkedArray) -> Lists:
    """Atomic numbers from lists of numbers or element symbols; 0 for numbers that are not elements."""
    name = Column.ATOMIC_NUMBERS
    leaves, lengths, problems = _leaves(column, name)
    if _is_binary(leaves.type):
        leaves = pa.array([_said(value) for value in leaves.to_pylist()], type=pa.string())
    if _is_text(leaves.type):
        encoded = pc.dictionary_encode(leaves)
        known = np.array([_number_of(text) for text in encoded.dictionary.to_pylist()] or [0.0])
        values = known[pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)]
        values = np.where(np.asarray(pc.is_null(encoded.indices)), np.nan, values)
    else:
        values, _ = _as_numbers(leaves)
    bad = ~(values == np.floor(values))
    first = next((_said(leaves[int(index)].as_py()) for index in np.flatnonzero(bad)[:1]), "")
    if first.strip() in ISOTOPES:
        sentence = f"The {name} of the row hold {first}, an isotope whose mass no model knows; write H if its electrons will do."
    else:
        sentence = f"The {name} of the row hold {first}, which is not an element; give integers or symbols."
    read = _without(Lists(values, lengths, problems), bad, sentence)
    return Lists(np.clip(read.values, 0, MAX_KNOWN_NUMBER), read.lengths, read.problems)


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array of a plain type, without chunks, dictionaries, extensions, views or fixed sizes."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    if isinstance(array, pa.ExtensionArray):
        is_uuid = isinstance(array.type, pa.UuidType)
        return pa.array([str(name or "") for name in array.to_pylist()]) if is_uuid else _plain(array.storage)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_binary_view(kind):
        return array.cast(pa.binary())
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return array.cast(pa.large_list(kind.value_type))
    return array


def _leaves(column: pa.ChunkedArray, name: str) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.object_]]:
    """Values of all rows, their number per row, and why a row has none."""
    array = _plain(column)
    problems = np.full(len(array), None, dtype=object)
    if pa.types.is_struct(array.type) and "matrix" in {field.name for field in array.type}:
        array = _plain(pc.struct_field(array, "matrix"))
    if _is_text(array.type) or _is_binary(array.type):
        array, problems = _from_json(array, name)
    if not _is_list(array.type):
        if len(array) == array.null_count:
            return pa.array([], type=pa.float64()), np.zeros(len(array), np.int64), _missing(array, problems, name)
        raise TableError(f"The column {name} holds {column.type}; lists of numbers are needed.")
    problems = _missing(array, problems, name)
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = _plain(pc.list_flatten(array))
    while _is_list(values.type):
        inner = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(inner)])
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        lengths = ends[bounds[1:]] - ends[bounds[:-1]]
        values = _plain(pc.list_flatten(values))
    return values, lengths, problems


def _missing(array: pa.Array, problems: NDArray[np.object_], name: str) -> NDArray[np.object_]:
    absent = np.asarray(pc.is_null(array)) & np.array([problem is None for problem in problems], dtype=bool)
    return np.where(absent, f"The row has no {name}.", problems)


def _from_json(array: pa.Array, name: str) -> tuple[pa.Array, NDArray[np.object_]]:
    """Lists written as JSON, one string per row."""
    lists: list[list[Any] | None] = []
    problems = np.full(len(array), None, dtype=object)
    for row, text in enumerate(array.to_pylist()):
        try:
            lists.append(None if text is None else _flat(orjson.loads(text)))
        except (ValueError, TypeError):
            lists.append(None)
            problems[row] = f"The {name} of the row are not a list: '{one_line(_said(text))}'."
    texts = any(isinstance(value, str) for entry in lists for value in entry or ())
    if texts:
        lists = [None if entry is None else [_symbol(value) for value in entry] for entry in lists]
    return pa.array(lists, type=pa.list_(pa.string() if texts else pa.float64())), problems


def _flat(value: Any, depth: int = 0) -> list[Any]:
    if isinstance(value, dict) and "matrix" in value:
        return _flat(value["matrix"], depth + 1)
    if not isinstance(value, list) or depth > _MAX_DEPTH:
        raise TypeError("no list")
    flat: list[Any] = []
    for entry in value:
        if isinstance(entry, list):
            flat += _flat(entry, depth + 1)
        elif isinstance(entry, str | float | int) and not isinstance(entry, bool):
            flat.append(entry)
        else:
            raise TypeError("neither a number nor a list")
    return flat


def _symbol(value: Any) -> str:
    """Mixed symbols and atomic numbers as text, which `_number_of` reads."""
    return value if isinstance(value, str) else repr(value)


def _as_numbers(leaves: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers, NaN where missing, and where a value is not a number."""
    none = np.zeros(len(leaves), dtype=bool)
    if pa.types.is_boolean(leaves.type):
        return np.full(len(leaves), np.nan), ~none
    try:
        numbers = leaves.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = leaves.to_pylist() if _is_text(leaves.type) else [None] * len(leaves)
        values = np.array([_number(text) for text in texts], dtype=np.float64)
        return values, np.isnan(values)
    return pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False), none


def _number(text: str | None) -> float:
    """A number written as text, also nan and inf; NaN for anything else."""
    word = (text or "").strip()
    if word.lower().lstrip("+-") in {"inf", "infinity"}:
        return float(word)
    number = plain_number(word)
    return np.nan if number is None else number


@cache
def _number_of(text: str | None) -> float:
    """Atomic number from a symbol or a number as text; NaN for anything else."""
    symbol = (text or "").strip()
    if symbol in ISOTOPES:
        return np.nan
    if Element.is_valid_symbol(symbol):
        return float(Element(symbol).Z)
    return _number(symbol)


def _without(lists: Lists, bad: NDArray[np.bool_], sentence: str) -> Lists:
    """The lists, with a problem in the rows that hold a bad value."""
    if not bad.any():
        return lists
    rows = np.repeat(np.arange(len(lists.lengths)), lists.lengths)
    wrong = np.bincount(rows[bad], minlength=len(lists.lengths)) > 0
    problems = np.where(wrong & (lists.problems == None), sentence, lists.problems)  # noqa: E711  element by element
    return Lists(np.where(bad, 0.0, lists.values), lists.lengths, problems)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"The column {Column.MATERIAL_ID} holds bytes that are not text ({value!r}); write identifiers as text."
        ) from error


def _said(value: Any) -> str:
    """A value for a sentence, shortened to a line."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def first_of(*problems: Sequence[Any] | NDArray[np.object_]) -> NDArray[np.object_]:
    """The first problem of each row that is not None."""
    found = np.array(list(problems[0]), dtype=object)
    for others in problems[1:]:
        found = np.where(found == None, others, found)  # noqa: E711  element by element
    return found
