"""JSON schemas of the parameters of a run: all that a Prefect server knows of them when it accepts or refuses a run.

It refuses unknown parameters, and assignments "KEY=VALUE" of an unknown key or a value of another form. What it refuses the
run would refuse too (but for truth values given as numbers, and numbers as truth values); ranges other than signs, and what is
inside of lists, only the run checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "y", "n", "t", "f")
_NOT_FINITE = ("inf", "infinity", "nan")
# Quoted and tagged YAML values are read by the run alone.
_QUOTED = r"[\"'!&|>][\s\S]*"
_NULL = "(?:null|Null|NULL|~)?"
_EXPONENT = r"[0-9][0-9_.]*[eE][-+]?[0-9]+"
_OTHER_BASE = "0[xXbBoO][0-9a-fA-F_]+"
_SEXAGESIMAL = r"[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9_]*)?"
_ZERO = r"[0_]+(?:\.[0_]*)?"
_UNKNOWN_KEY = "KEY=VALUE with a KEY of `mat2spec settings` that a run may set"


@dataclass(frozen=True)
class _Form:
    """The form of a value.

    Parameters
    ----------
    pattern
        Regular expression of the whole value.
    words
        The same in words without special characters of regular expressions.
    """

    pattern: str
    words: str


def schema_of_assignments(fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """JSON schema of a string KEY=VALUE that sets one of the fields, or several at once as KEY={...} of their section.

    Parameters
    ----------
    fields
        Fields that may be set, by their dotted key.
    """
    sections = {key[: dot.start()]: None for key in fields for dot in re.finditer(r"\.", key)}
    by_form: dict[_Form, list[str]] = {}
    for key, field in fields.items():
        form = _form_of(field, is_nullable="." not in key)
        if form is not None:
            by_form.setdefault(form, []).append(key)
    forms = [
        {"if": _assigns(keys), "then": _refused_as(f"KEY={form.words}", _has(form))} for form, keys in by_form.items()
    ]
    return {
        "type": "string",
        "description": "KEY=VALUE, e.g. gap.min_width_ev=1.2.",
        "allOf": [_refused_as(_UNKNOWN_KEY, _assigns([*fields, *sections])), *forms],
    }


def adapter_of(field: FieldInfo) -> TypeAdapter[Any]:
    """What validates a value of a field."""
    # What a field allows is known only when the program runs.
    return TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]


def _refused_as(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose violation is reported in words: "'...' does not match '^words$'"."""
    return {"if": schema, "else": {"pattern": f"^{words}$"}}


def _assigns(keys: Iterable[str]) -> dict[str, Any]:
    return {"pattern": rf"^\s*(?:{_one_of(keys)})\s*="}


def _has(form: _Form) -> dict[str, Any]:
    return {"pattern": rf"^[^=]*=\s*(?:{form.pattern}|{_QUOTED})\s*(?:#.*)?$"}


def _one_of(keys: Iterable[str]) -> str:
    """Alternatives, with each section named once."""
    names: dict[str, list[str]] = {}
    for key in keys:
        section, dot, name = key.rpartition(".")
        names.setdefault(re.escape(section + dot), []).append(re.escape(name))
    return "|".join(f"{section}(?:{'|'.join(of_section)})" for section, of_section in names.items())


def _form_of(field: FieldInfo, *, is_nullable: bool) -> _Form | None:
    """The form of the values of a field; None if it may be any text."""
    schema = adapter_of(field).json_schema()
    given = schema.get("anyOf", [schema])
    kinds = [kind for kind in given if kind.get("type") != "null"]
    if len(kinds) != 1:
        return None
    (kind,) = kinds
    form = _form_of_kind(kind | _definition(kind, schema))
    if form is None or (len(given) == 1 and not is_nullable):
        return form
    words = form.words if len(given) == 1 else f"{form.words}, or null"
    return _Form(f"(?:{form.pattern}|{_NULL})", words)


def _definition(kind: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    name = kind.get("$ref", "").rpartition("/")[2]
    return dict(schema["$defs"][name]) if name else {}


def _form_of_kind(kind: Mapping[str, Any]) -> _Form | None:
    words = kind.get("enum") or ([kind["const"]] if "const" in kind else None)
    if words is not None:
        return _Form("|".join(re.escape(str(word)) for word in words), f"one of {', '.join(map(str, words))}")
    match kind.get("type"):
        case "boolean":
            return _Form("|".join(["[01]", *map(_in_any_case, _BOOLEANS)]), "true or false")
        case "integer":
            return _number(rf"[0-9][0-9_]*(?:\.[0_]*)?|{_EXPONENT}", "an integer", kind)
        case "number":
            not_finite = "|".join(map(_in_any_case, _NOT_FINITE))
            return _number(rf"[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+|{_EXPONENT}|\.?(?:{not_finite})", "a number", kind)
        case "array":
            return _Form(r"[\[\-][\s\S]*", "a list in brackets")
    return None


def _number(magnitude: str, words: str, kind: Mapping[str, Any]) -> _Form:
    """A number that may be negative or zero only where the minimum allows it."""
    magnitude = f"(?:{magnitude}|{_OTHER_BASE}|{_SEXAGESIMAL})"
    minimum, above = kind.get("minimum"), kind.get("exclusiveMinimum")
    if (minimum is not None and minimum > 0) or (above is not None and above >= 0):
        return _Form(rf"(?!\+?{_ZERO}\s*(?:#|$))\+?{magnitude}", f"{words} above 0")
    if minimum == 0:
        return _Form(rf"\+?{magnitude}|-{_ZERO}", f"{words} from 0 on")
    return _Form(rf"[-+]?{magnitude}", words)


def _in_any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)
