"""The watcher: asks for the release of the source's database, and tells Prefect when there is a new one.

It emits an event that starts the deployment `screen-gapped-metals` for what is new (`flows.serve.deployments`).
The release that was told last is kept in a Prefect variable.
"""

from __future__ import annotations

import hashlib

from prefect import flow, get_run_logger
from prefect.events import emit_event
from prefect.variables import Variable

from flows.settings import ScreenSettings
from flows.settings_layers import load_settings
from screening.runs.releases import last_screened_release
from screening.settings import SourceKind, SourceSettings
from screening.sources.releases import current_release

WATCH_FLOW_NAME = "watch-releases"
NEW_RELEASE_EVENT = "mat2spec.release.new"
RESOURCE_PREFIX = "mat2spec.source"


class WatchError(RuntimeError):
    """A new release could not be told; the next poll tries again."""


@flow(
    name=WATCH_FLOW_NAME, description="Ask for the release of the database; a new one starts a screen of what is new."
)
def watch_releases(settings: ScreenSettings | None = None) -> str:
    """Compare the release of the source with the last one that was told, and tell a new one.

    Without a memory, that is at the first poll of a server, the release of the last finished run counts; without
    such a run the present release is only remembered.
    """
    settings = settings or load_settings()
    source = settings.source
    present = current_release(source)
    remembered = Variable.get(variable_name(source), None)
    former = str(remembered) if remembered else last_screened_release(settings.results_dir, source.kind)
    if former is not None and former != present:
        tell(source, former, present)
        sentence = f"The release {present} is new, the former one is {former}; a screen of what is new is asked for."
    elif former is None:
        sentence = f"The release is {present}; from now on a newer one starts a screen of what is new."
    else:
        sentence = f"The release is still {present}."
    if remembered != present:
        Variable.set(variable_name(source), present, overwrite=True)
    get_run_logger().info(sentence)
    return sentence


def tell(source: SourceSettings, former: str, present: str) -> None:
    """Emit the event of a new release.

    Raises
    ------
    WatchError
        If Prefect takes no events here.
    """
    event = emit_event(
        event=NEW_RELEASE_EVENT,
        resource={"prefect.resource.id": resource_id(source), "prefect.resource.name": source.kind},
        payload={"old": former, "new": present},
    )
    if event is None:
        raise WatchError("Prefect takes no events here; run the watcher against a server: `mat2spec serve`.")


def resource_id(source: SourceSettings) -> str:
    """What the event is about: the kind of source and where it is, without a path or an address in clear."""
    place = str(source.mp_endpoint if source.kind is SourceKind.MATERIALS_PROJECT else source.path)
    return f"{RESOURCE_PREFIX}.{source.kind}.{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def variable_name(source: SourceSettings) -> str:
    """Name of the Prefect variable that holds the release told last."""
    return resource_id(source).replace(".", "_").replace("-", "_")
