"""Fill `ScreenSettings` from defaults, a YAML file, the environment and the command line.

Later ones win. Unknown keys are refused everywhere, with the nearest known key as a suggestion.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from flows.settings import ENVIRONMENT_DELIMITER, ENVIRONMENT_PREFIX, ScreenSettings
from mat2spec.tables.files import refuse_special

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic.fields import FieldInfo

Model = TypeVar("Model", bound=BaseModel)

# The settings with which a deployment was served, see `flows.parameters`.
SERVED_VARIABLE = "MAT2SPEC_SERVED"
# Variables with our prefix that are not settings of a screen.
OTHER_VARIABLES = frozenset({"MAT2SPEC_DATA_DIR", "MAT2SPEC_NOTIFY_URL", "MAT2SPEC_WORK_POOL", SERVED_VARIABLE})


class SettingsRefusedError(ValueError):
    """Settings that cannot be used; the message is one sentence per problem."""


@dataclass(frozen=True)
class ShownSetting:
    """One setting, for display."""

    key: str
    value: Any
    default: Any
    source: str
    description: str


def load_settings(file: Path | None = None, assignments: Sequence[str] = ()) -> ScreenSettings:
    """Read the settings of a run.

    Parameters
    ----------
    file
        YAML file with the same nesting as `ScreenSettings`.
    assignments
        ``"key=value"`` from the command line, e.g. ``"gap.min_width_ev=1.2"``; the value is YAML.

    Raises
    ------
    SettingsRefusedError
        If a file cannot be read, a key is unknown or a value does not fit.
    """
    return validate(ScreenSettings, given_settings(file, assignments))


def given_settings(file: Path | None = None, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """What was given in a file, the environment or the command line, nested like the settings; raises as `load_settings`."""
    return join_layers(*read_layers(file, assignments).values())


def load_model(model: type[Model], file: Path | None = None, assignments: Sequence[str] = ()) -> Model:
    """Fill any other settings class from a YAML file and the command line, with the same checks."""
    values: dict[str, Any] = {}
    if file is not None:
        values = _checked(_read_file(file), f"the settings file {file}", model)
    return validate(model, _merge(values, _checked(_parse_assignments(assignments), "the command line", model)))


def validate(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Settings from nested values, with errors as sentences."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsRefusedError("\n".join(_sentences(error, model))) from error


def read_layers(file: Path | None, assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The values from each source, nested like the settings; later sources override earlier ones."""
    layers: dict[str, dict[str, Any]] = {}
    if file is not None:
        layers[str(file)] = _checked(_read_file(file), f"the settings file {file}")
    layers["environment"] = _checked(_read_environment(), "the environment")
    layers["command line"] = _checked(_parse_assignments(assignments), "the command line")
    return layers


def list_settings(file: Path | None = None, assignments: Sequence[str] = ()) -> list[ShownSetting]:
    """Every setting with its value, default, description and the source that set it."""
    settings = load_settings(file, assignments)
    sources = {
        key: name for name, layer in read_layers(file, assignments).items() for key, _ in leaves(ScreenSettings, layer)
    }
    return [
        ShownSetting(
            key=key,
            value=_at(settings, key),
            default=field.get_default(call_default_factory=True, validated_data={}),
            source=sources.get(key, "default"),
            description=field.description or "",
        )
        for key, field in known_fields().items()
    ]


def known_fields(model: type[BaseModel] = ScreenSettings, prefix: str = "") -> dict[str, FieldInfo]:
    """All settings by their dotted key, in the order of the classes."""
    fields: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        nested = _nested_model(field)
        fields |= {prefix + name: field} if nested is None else known_fields(nested, f"{prefix}{name}.")
    return fields


def _nested_model(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice: one of the two values would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for index, key in enumerate(keys) if key in keys[:index]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                problem=f"the key '{twice}' occurs twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str) -> Any:
    """Content of YAML text.

    Raises
    ------
    ValueError
        If it is not YAML, has a key twice, or is nested too deeply.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a safe loader
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _read_file(file: Path) -> dict[str, Any]:
    try:
        refuse_special(file)
        content = _parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsRefusedError(
            f"The settings file {file} cannot be read: {error.strerror or str(error).rstrip('.')}."
        ) from error
    except ValueError as error:
        raise SettingsRefusedError(f"The settings file {file} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsRefusedError(f"The settings file {file} has no keys; write e.g. 'gap: {{min_width_ev: 1.2}}'.")
    return {str(key): value for key, value in content.items()}


def _read_environment() -> dict[str, Any]:
    known = {_environment_name(key): key for key in [*known_fields(), *ScreenSettings.model_fields]}
    given = [name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX)]
    for name in given:
        if name.upper() not in known and name.upper() not in OTHER_VARIABLES:
            nearest = _nearest(name.upper(), known)
            raise SettingsRefusedError(f"Unknown setting '{name}' in the environment; {nearest}")
    try:
        return EnvSettingsSource(ScreenSettings)()
    except SettingsError as error:
        raise SettingsRefusedError(f'The environment cannot be read: {error}; lists are JSON, e.g. ["O"].') from error


def _environment_name(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.replace(".", ENVIRONMENT_DELIMITER).upper()


def _parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise SettingsRefusedError(f"Cannot read '{assignment}'; write key=value, e.g. gap.min_width_ev=1.2.")
        try:
            value: Any = _parse_yaml(text)
        except ValueError as error:
            raise SettingsRefusedError(
                f"The value of '{assignment}' is not valid YAML: {error}\nQuote such text for YAML as well: "
                "--set 'serve.watch_cron=\"*/10 * * * *\"'."
            ) from error
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        nested = _merge(nested, value)
    return nested


def _checked(layer: dict[str, Any], origin: str, model: type[BaseModel] = ScreenSettings) -> dict[str, Any]:
    """Return the layer without empty headings if every key in it is known."""
    known = known_fields(model)
    for key, _ in leaves(model, layer):
        if key not in known and key not in model.model_fields:
            raise SettingsRefusedError(f"Unknown setting '{key}' in {origin}; {_nearest(key, known)}")
    return {key: value for key, value in layer.items() if value is not None}


def leaves(model: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values, down to values that are not models themselves."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        field = model.model_fields.get(name)
        nested = None if field is None else _nested_model(field)
        if nested is not None and isinstance(value, Mapping):
            found += leaves(nested, value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _nearest(key: str, known: Iterable[str]) -> str:
    """A clause that names the known key most similar to `key`."""
    keys = list(known)
    by_last_part = {name.rpartition(".")[2]: name for name in keys}
    last_part = key.rpartition(".")[2]
    if last_part in by_last_part:
        return f"did you mean '{by_last_part[last_part]}'?"
    close = difflib.get_close_matches(key, keys, n=1) or [
        by_last_part[part] for part in difflib.get_close_matches(last_part, by_last_part, n=1)
    ]
    return f"did you mean '{close[0]}'?" if close else "`mat2spec settings` lists them all."


def join_layers(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One nested layer from several; later ones win."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    return merged


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _at(settings: BaseModel, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    sentences = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ").rstrip(".")
        if item["type"] == "extra_forbidden":
            sentences.append(f"Unknown setting '{key}'; {_nearest(key, known_fields(model))}")
        elif item["type"] == "value_error":
            sentences.append(f"The settings under '{key}' are inconsistent: {message}." if key else f"{message}.")
        else:
            sentences.append(f"The setting '{key}' cannot be {item['input']!r}: {message[0].lower()}{message[1:]}.")
    return sentences
