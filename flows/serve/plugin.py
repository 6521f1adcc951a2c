"""Prefect plugin: a deployment may be named without its flow, and wrong settings of a run are refused before it starts.

``prefect deployment run screen-gapped-metals`` then does what
``prefect deployment run screen-gapped-metals/screen-gapped-metals`` does. Prefect loads this module
through the entry point group ``prefect.plugins`` where plugins are enabled: in a folder whose
pyproject.toml says so (this project's does), or with ``PREFECT_PLUGINS_ENABLED=true``.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from httpx import ConnectError
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.exceptions import ObjectNotFound
from prefect.plugins import SetupResult, register_hook

from flows.parameters import check_assignment
from flows.serve.api_secret import AUTH_VARIABLE, find_secret
from flows.settings_layers import SettingsRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.plugins import HookContext

SCREEN_ENTRYPOINT = "flows.screen.screen_gapped_metals"
# The parameter whose form the server cannot check: a list of assignments.
_CHECKED = "set"


class DeploymentNameError(ValueError):
    """A bare deployment name that cannot be looked up or is ambiguous; the message says which."""


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:
    """Let both Prefect clients look up deployments by their bare name, check the settings of runs, and know the secret."""
    for client_class in (PrefectClient, SyncPrefectClient):
        for method, wrap in _WRAPPERS.items():
            original = getattr(client_class, method)
            if not hasattr(original, "__wrapped__"):  # the hook may run twice in one process
                setattr(client_class, method, wrap(original))
    secret = None if os.environ.get(AUTH_VARIABLE) else find_secret(ctx.api_url)
    return SetupResult(env={AUTH_VARIABLE: secret}, note="secret of the served API") if secret else None


def accept_bare_name(read_by_full_name: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a client's `read_deployment_by_name`, async or not, so that it takes bare names too."""

    @functools.wraps(read_by_full_name)
    async def read_async(client: PrefectClient, name: str) -> DeploymentResponse:
        if "/" not in name:
            with _server_expected(client):
                deployments = await client.read_deployments(deployment_filter=_called(name))
            flows = [await client.read_flow(deployment.flow_id) for deployment in deployments]
            name = choose_full_name(name, [flow.name for flow in flows])
        return await read_by_full_name(client, name)

    @functools.wraps(read_by_full_name)
    def read(client: SyncPrefectClient, name: str) -> DeploymentResponse:
        if "/" not in name:
            with _server_expected(client):
                deployments = client.read_deployments(deployment_filter=_called(name))
            flows = [client.read_flow(deployment.flow_id) for deployment in deployments]
            name = choose_full_name(name, [flow.name for flow in flows])
        return read_by_full_name(client, name)

    return read_async if inspect.iscoroutinefunction(read_by_full_name) else read


def check_parameters_of(create: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a client's `create_flow_run_from_deployment`, async or not, so that it refuses settings that cannot be used."""

    @functools.wraps(create)
    async def create_async(client: PrefectClient, deployment_id: UUID, **given: Any) -> Any:
        if (given.get("parameters") or {}).get(_CHECKED):
            _check_settings(await client.read_deployment(deployment_id), given["parameters"])
        return await create(client, deployment_id, **given)

    @functools.wraps(create)
    def create_sync(client: SyncPrefectClient, deployment_id: UUID, **given: Any) -> Any:
        if (given.get("parameters") or {}).get(_CHECKED):
            _check_settings(client.read_deployment(deployment_id), given["parameters"])
        return create(client, deployment_id, **given)

    return create_async if inspect.iscoroutinefunction(create) else create_sync


_WRAPPERS = {
    "read_deployment_by_name": accept_bare_name,
    "create_flow_run_from_deployment": check_parameters_of,
}


def _check_settings(deployment: DeploymentResponse, parameters: Mapping[str, Any]) -> None:
    """Refuse settings of our own deployments that cannot be used; what has another type, the server refuses."""
    assignments = parameters[_CHECKED]
    if deployment.entrypoint != SCREEN_ENTRYPOINT or not isinstance(assignments, list):
        return
    for text in assignments:
        try:
            check_assignment(str(text))
        except SettingsRefusedError as error:
            _refuse(f"Parameter '{_CHECKED}': {error}", error)


@contextmanager
def _server_expected(client: PrefectClient | SyncPrefectClient) -> Iterator[None]:
    """Say what to do if no server answers."""
    try:
        yield
    except ConnectError as error:
        _refuse(
            f"No Prefect server answers at {client.api_url}; start one with `make serve` in another terminal.", error
        )


def _called(name: str) -> DeploymentFilter:

    return DeploymentFilter(name=DeploymentFilterName(any_=[name]))


def choose_full_name(name: str, flow_names: Sequence[str]) -> str:
    """Full name `<flow>/<deployment>` if exactly one flow has a deployment of that name.

    Raises
    ------
    ObjectNotFound
        If there is no such deployment.
    DeploymentNameError
        If several flows have one; under the `prefect` command the program exits with the message instead.
    """
    if not flow_names:
        sentence = f"Unknown deployment '{name}'; start one with `make serve`, or see `prefect deployment ls`."
        raise ObjectNotFound(LookupError(sentence), help_message=sentence)
    full_names = sorted(f"{flow}/{name}" for flow in flow_names)
    if len(full_names) > 1:
        _refuse(f"Several flows have a deployment called '{name}'; say which: {', '.join(full_names)}.")
    return full_names[0]


def _refuse(sentence: str, cause: Exception | None = None) -> NoReturn:
    # Prefect's command line prints a traceback for every exception, which would bury the sentence.
    if Path(sys.argv[0]).stem == "prefect":
        raise SystemExit(sentence)
    raise DeploymentNameError(sentence) from cause
