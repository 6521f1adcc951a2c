"""Notifications of a Prefect server: runs that failed, and new picks, by mail or to a webhook.

The address is a secret (it holds a token or a password), so it comes from the environment and is kept by Prefect alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import UUID

from apprise import Apprise
from prefect.blocks.notifications import SlackWebhook
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

from flows.prefect_runs.announcements import NEW_PICKS_EVENT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ADDRESS_VARIABLE = "MAT2SPEC_NOTIFY_URL"
BLOCK_NAME = "mat2spec-notifications"


class NotificationError(ValueError):
    """Notifications cannot be sent to an address; the message says where it was given."""


def set_up_notifications(client: SyncPrefectClient, flow_names: list[str]) -> bool:
    """Create or update the automations that notify, if the environment names an address; return whether it does.

    Parameters
    ----------
    client
        Of the server.
    flow_names
        Flows whose failures are reported.

    Raises
    ------
    NotificationError
        If Apprise does not know the address. It knows that of a Slack webhook,
        mailtos://user:password@example.org?to=group@example.org, json://host/path for a webhook of one's own, ...
    """
    url = os.environ.get(ADDRESS_VARIABLE)
    if not url:
        return False
    if not Apprise().add(url):
        raise NotificationError(
            f"Notifications cannot be sent to the address in {ADDRESS_VARIABLE}; give that of a Slack webhook, "
            "mailtos://USER:PASSWORD@HOST?to=ADDRESS or json://HOST/PATH."
        )
    block_id = SlackWebhook(url=SecretStr(url)).save(BLOCK_NAME, overwrite=True)
    assert isinstance(block_id, UUID)  # not a coroutine: nothing runs asynchronously here
    for automation in (failed_runs(block_id, flow_names), new_picks(block_id)):
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation)
        else:
            client.create_automation(automation)
    return True


def failed_runs(block_id: UUID, flow_names: list[str]) -> AutomationCore:
    """Tells that a flow run failed or crashed, and why."""
    trigger = EventTrigger(
        posture=Posture.Reactive,
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": flow_names}),
    )
    message = SendNotification(
        block_document_id=block_id,
        subject="{{ flow.name }} failed",
        body="The run {{ flow_run.name }} is {{ flow_run.state.name }}: {{ flow_run.state.message }}\n"
        "{{ flow_run|ui_url }}",
    )
    description = "A run of the screen, the watcher or the collection failed."
    return AutomationCore(name="mat2spec: failed runs", description=description, trigger=trigger, actions=[message])


def new_picks(block_id: UUID) -> AutomationCore:
    """Tells how many materials a finished run picked, and the best."""
    message = SendNotification(
        block_document_id=block_id,
        subject="{{ event.payload.n }} picks in {{ event.payload.release }}",
        body="The run {{ event.payload.run }} picked {{ event.payload.n }} materials, the best: "
        "{{ event.payload.best }}.\nTables: {{ event.payload.folder }}",
    )
    return AutomationCore(
        name="mat2spec: new picks",
        description="A screen found materials that are searched for.",
        trigger=EventTrigger(posture=Posture.Reactive, expect={NEW_PICKS_EVENT}),
        actions=[message],
    )
