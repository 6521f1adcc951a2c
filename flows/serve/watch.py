"""The watcher: check the release of the source's database, and emit an event when there is a new one.

The event starts the deployment `screen-gapped-metals` for what is new (`flows.serve.deployments`). A Prefect variable
holds the last release that was announced.
"""

from __future__ import annotations

import hashlib

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.variables import Variable

from flows.parameters import settings_of_run
from flows.settings import ScreenSettings
from screening.runs.releases import last_screened_release
from screening.settings import SourceKind, SourceSettings
from screening.sources.releases import current_release

WATCH_FLOW_NAME = "watch-releases"
NEW_RELEASE_EVENT = "mat2spec.release.new"
SCREEN_FLOW_NAME = "screen-gapped-metals"
RUNS_LOOKED_AT = 100
# A screen that fails each time is offered so often, once per poll.
MOST_OFFERS = 5
_FAILED = frozenset({StateType.FAILED, StateType.CRASHED})
RESOURCE_PREFIX = "mat2spec.source"


class WatchError(RuntimeError):
    """A new release could not be announced; the next poll tries again."""


@flow(
    name=WATCH_FLOW_NAME, description="Check the release of the database; a new release starts a screen of what is new."
)
def watch_releases() -> str:
    """Look at the source that is served, see `announce_new_release`."""
    sentence = announce_new_release(settings_of_run())
    get_run_logger().info(sentence)
    return sentence


def announce_new_release(settings: ScreenSettings) -> str:
    """Compare the release of the source with the last one announced, and announce a new one.

    At the first poll of a server, when nothing has been announced, it is compared with the release of the last finished
    run; if there is no such run, the current release is only stored.
    """
    source = settings.source
    current = current_release(source)
    remembered = Variable.get(variable_name(source), None)
    previous = str(remembered) if remembered else last_screened_release(settings.results_dir, source.kind)
    if previous == current and is_to_be_offered_again(current):
        announce(source, current, current)
        return f"The screen of the release {current} failed; it was requested again."
    if previous is not None and previous != current:
        announce(source, previous, current)
        sentence = f"New release {current} (previously {previous}); a screen of what is new was requested."
    elif previous is None:
        sentence = f"The release is {current}; a newer one will start a screen of what is new."
    else:
        sentence = f"The release is still {current}."
    if remembered != current:
        Variable.set(variable_name(source), current, overwrite=True)
    return sentence


def is_to_be_offered_again(release: str) -> bool:
    """Whether the last screen of what is new in a release failed, and not too often yet."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[SCREEN_FLOW_NAME])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=RUNS_LOOKED_AT,
        )
    states = [run.state_type for run in runs if run.parameters.get("release") == release]
    return bool(states) and states[0] in _FAILED and len(states) < MOST_OFFERS


def announce(source: SourceSettings, previous: str, current: str) -> None:
    """Emit the event of a new release.

    Raises
    ------
    WatchError
        If Prefect cannot emit events here.
    """
    event = emit_event(
        event=NEW_RELEASE_EVENT,
        resource={"prefect.resource.id": resource_id(source), "prefect.resource.name": source.kind},
        payload={"old": previous, "new": current},
    )
    if event is None:
        raise WatchError("Prefect cannot emit events here; run the watcher against a server: `mat2spec serve`.")


def resource_id(source: SourceSettings) -> str:
    """What the event is about: the kind of source and a hash of its location, so that no path or address is exposed."""
    place = str(source.mp_endpoint if source.kind is SourceKind.MATERIALS_PROJECT else source.path)
    return f"{RESOURCE_PREFIX}.{source.kind}.{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def variable_name(source: SourceSettings) -> str:
    """Name of the Prefect variable with the last release announced."""
    return resource_id(source).replace(".", "_").replace("-", "_")
