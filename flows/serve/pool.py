"""Deployments to a work pool of a server that a group already has, or of Prefect Cloud."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from httpx import ConnectError
from prefect.client.orchestration import get_client
from prefect.deployments.runner import DeploymentApplyError
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.parameters import PROGRAMS, served_environment
from flows.screen import DFT_LIMIT, LIMITED_TAG, MP_API_LIMIT
from flows.serve.deployments import FLOW_NAMES, deployments
from flows.serve.notifications import set_up_notifications

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import WorkPool

    from flows.settings import ScreenSettings

PROCESS_POOL, DOCKER_POOL = "process", "docker"
# As in the Containerfile: that of a worker, which Prefect would pass on, is a folder of the worker's machine.
CONTAINER_HOME = "/tmp/home/prefect"  # noqa: S108  inside a container


class DeployError(RuntimeError):
    """The deployments cannot be made; the message says why and what to do."""


def deploy(
    settings: ScreenSettings,
    given: Mapping[str, Any],
    pool_name: str,
    image: str | None = None,
    more_variables: Mapping[str, Any] | None = None,
) -> list[str]:
    """Register the deployments with a work pool, with schedules, limits and notifications; return their names.

    Parameters
    ----------
    settings
        With schedules and limits.
    given
        What was given to the command, nested like the settings; it travels to the runs.
    pool_name
        Work pool of the server that Prefect's own settings name.
    image
        Container image with this package, for pools that start containers.
    more_variables
        Further job variables of the pool, such as the volumes of its containers.

    Raises
    ------
    DeployError
        If no server answers, it has no such pool, the pool needs an image or a volume, or it has no such variables.
    """
    with get_client(sync_client=True) as client:
        pool = _find_pool(client, pool_name)
        if image is None and pool.type not in {PROCESS_POOL, "prefect-agent"}:
            raise DeployError(
                f"The work pool '{pool_name}' starts containers (type {pool.type}): name an image that has this package, "
                "--image REGISTRY/NAME:TAG (Containerfile builds one)."
            )
        variables = job_variables(given, pool.type, image, more_variables or {})
        _refuse_lost_results(pool, variables)
        names = []
        for deployment in deployments(settings):
            deployment.work_pool_name = pool_name
            deployment.job_variables = variables
            deployment.tags = [*(deployment.tags or []), LIMITED_TAG]
            try:
                deployment.apply()
            except (DeploymentApplyError, PrefectHTTPStatusError) as error:
                reason = error.response.text if isinstance(error, PrefectHTTPStatusError) else str(error)
                raise DeployError(
                    f"The server refuses the deployment '{deployment.name}' with the job variables "
                    f"{', '.join(variables)}: {reason}"
                ) from error
            names.append(f"{deployment.flow_name}/{deployment.name}")
        client.upsert_global_concurrency_limit_by_name(MP_API_LIMIT, settings.serve.mp_api_limit)
        client.upsert_global_concurrency_limit_by_name(DFT_LIMIT, settings.serve.dft_limit)
        set_up_notifications(client, FLOW_NAMES)
    return names


def parse_variables(assignments: Sequence[str]) -> dict[str, Any]:
    """Job variables from "KEY=VALUE", the value in YAML.

    Raises
    ------
    DeployError
        If one has another form.
    """
    variables = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        try:
            variables[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DeployError(f"The value of the job variable '{text}' is not valid YAML: {error}") from error
        if not equals or not key.strip():
            raise DeployError(f"Cannot read '{text}'; write KEY=VALUE, e.g. 'volumes=[\"/data/mat2spec:/work\"]'.")
    return variables


def job_variables(
    given: Mapping[str, Any], pool_type: str, image: str | None, more: Mapping[str, Any]
) -> dict[str, Any]:
    """What a worker needs to start a run: the served settings, where or in which container, and `more`."""
    settings = copy.deepcopy(dict(given))
    for key in PROGRAMS:
        # The programs of a worker are its own: its environment names them.
        section, _, name = key.partition(".")
        settings.get(section, {}).pop(name, None)
    variables: dict[str, Any] = {} if image is None else {"image": image}
    environment: dict[str, str] = {}
    if pool_type == PROCESS_POOL:
        variables["working_dir"] = str(Path.cwd())
    elif image is not None:
        environment["PREFECT_HOME"] = CONTAINER_HOME
    return {**variables, **more, "env": {**environment, **(more.get("env") or {}), **served_environment(settings)}}


def _refuse_lost_results(pool: WorkPool, variables: Mapping[str, Any]) -> None:
    """Refuse containers without a folder of the machine: their results would be gone with them."""
    if pool.type != DOCKER_POOL or variables.get("volumes"):
        return
    of_the_pool = pool.base_job_template.get("variables", {}).get("properties", {})
    if not of_the_pool.get("volumes", {}).get("default"):
        raise DeployError(
            f"The containers of the work pool '{pool.name}' share no folder with the machine, so results would be lost with "
            "them: name one, --job-variable 'volumes=[\"/data/mat2spec:/work\"]'; /work is where the image works."
        )


def _find_pool(client: SyncPrefectClient, name: str) -> WorkPool:
    try:
        return client.read_work_pool(name)
    except ConnectError as error:
        raise DeployError(
            f"No Prefect server answers at {client.api_url}; name one with PREFECT_API_URL, or start one with `mat2spec serve`."
        ) from error
    except ObjectNotFound as error:
        raise DeployError(
            f"The server at {client.api_url} has no work pool '{name}'; `prefect work-pool ls` lists those it has and "
            f"`prefect work-pool create {name} --type process` makes one."
        ) from error
