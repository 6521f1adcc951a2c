"""Parameters of a flow run: a few flat ones, laid over the settings with which the deployment was served.

The served settings travel in an environment variable, as JSON of what was given to `serve` or `deploy`. The form of a run
shows them as defaults of its parameters; what a run does not name stays as served.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema

from flows.parameter_schema import adapter_of, schema_of_assignments
from flows.settings import ScreenSettings
from flows.settings_layers import (
    SERVED_VARIABLE,
    SettingsRefusedError,
    join_layers,
    known_fields,
    leaves,
    read_layers,
    validate,
)
from flows.source_words import named_source, source_word

# Programs that are started: each machine names its own.
PROGRAMS = frozenset({"dft.elk_command"})
# These, code that is imported and machines that are given work: named by who serves, never by who asks for a run.
OF_THE_SERVER = PROGRAMS | {"classify.functions", "prediction.scheduler"}


def is_of_the_server(key: str) -> bool:
    """Whether a setting is set where the screen is served, never by a run."""
    return key in OF_THE_SERVER or key.partition(".")[0] == "serve"


def check_assignment(text: str) -> str:
    """An assignment such as "gap.min_width_ev=1.2" whose key and value can be used.

    Raises
    ------
    SettingsRefusedError
        If the key is unknown, its value does not fit, or only the server may set it.
    """
    layer = read_layers(None, [text])["command line"]
    fields = known_fields()
    for key, value in leaves(ScreenSettings, layer):
        if is_of_the_server(key):
            raise SettingsRefusedError(_server_only(key))
        if key in fields:
            _check_value(key, value)
    return text


def check_config(file: str | None) -> str | None:
    """A settings file that can be read on this machine, with known keys.

    Raises
    ------
    SettingsRefusedError
        If it cannot be read, a key is unknown, or only the server may set it.
    """
    if not file:
        return None
    given = {key for key, _ in leaves(ScreenSettings, read_layers(Path(file), ())[file])}
    for key in sorted(given & OF_THE_SERVER):
        raise SettingsRefusedError(_server_only(key))
    return file


Source = Annotated[
    str,
    Field(
        min_length=1,
        description="catalogue, materials-project, materials-project-open, a Parquet table, a folder, pattern or file of "
        "crystals, or identifiers such as mp-149.",
    ),
]
Limit = Annotated[int, Field(ge=1, description="Only the first this many materials of the source; empty: all.")]
Assignment = Annotated[
    str,
    AfterValidator(check_assignment),
    WithJsonSchema(schema_of_assignments({k: field for k, field in known_fields().items() if not is_of_the_server(k)})),
]
ConfigFile = Annotated[str | None, AfterValidator(check_config)]


def settings_of_run(
    source: str | None = None,
    limit: int | None = None,
    only_new: bool | None = None,
    run_dft: bool | None = None,
    config: str | None = None,
    assignments: Sequence[str] = (),
) -> ScreenSettings:
    """Settings of a run: the environment, what was served, a file, the parameters, assignments; later ones win.

    Parameters
    ----------
    source, limit, only_new, run_dft
        As the options of `mat2spec screen`; None leaves what was served, except that emptying the limit in the form of
        a served run removes it.
    config
        Settings file for this run only.
    assignments
        "key=value", as for `--set`.

    Raises
    ------
    SettingsRefusedError
        If the settings cannot be used; the message says which.
    """
    for text in assignments:
        check_assignment(text)
    file = check_config(config)
    layers = read_layers(Path(file) if file else None, assignments)
    below = join_layers(layers["environment"], served_settings())
    served = served_parameters(validate(ScreenSettings, below))
    given: dict[str, Any] = {"source": source, "limit": limit, "only_new": only_new, "run_dft": run_dft}
    # A form fills in what was served: only what differs from it was asked for.
    asked = {
        name: value
        for name, value in given.items()
        if value != served[name] and (value is not None or _is_emptied(name))
    }
    place: dict[str, Any] = {**named_source(asked.pop("source"))} if "source" in asked else {}
    if "limit" in asked:
        place["limit"] = asked.pop("limit")
    of_file = layers.get(str(file), {})
    return validate(ScreenSettings, join_layers(below, of_file, {**asked, "source": place}, layers["command line"]))


def served_parameters(settings: ScreenSettings) -> dict[str, Any]:
    """Parameters of a deployment: the served values of those that a form shows."""
    return {
        "source": source_word(settings.source.kind, settings.source.path),
        "limit": settings.source.limit,
        "only_new": settings.only_new,
        "run_dft": settings.run_dft,
    }


def served_settings() -> dict[str, Any]:
    """What was given to `serve` or `deploy`, nested like the settings; empty outside a served run."""
    values: dict[str, Any] = json.loads(os.environ.get(SERVED_VARIABLE) or "{}")
    return values


def served_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """The environment variable that carries the settings given to `serve` or `deploy` to its runs."""
    return {SERVED_VARIABLE: json.dumps(given, default=str, sort_keys=True)}


def _is_emptied(name: str) -> bool:
    """Whether a parameter without a value was emptied in the form of a served run: only a limit can be."""
    return name == "limit" and SERVED_VARIABLE in os.environ


def _check_value(key: str, value: Any) -> None:
    field = known_fields()[key]
    try:
        adapter_of(field).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ").rstrip(".")
        raise SettingsRefusedError(
            f"The setting '{key}' cannot be {value!r}: {message[0].lower()}{message[1:]}."
        ) from error


def _server_only(key: str) -> str:
    return f"The setting '{key}' is not one of a run; it is set where the screen is served: `mat2spec serve --set {key}=...`."
