"""The watcher without a server: what it remembers, and when it announces a new release (test_serve.py runs it for real)."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from prefect.client.schemas.objects import StateType

from flows.serve import watch
from flows.serve.deployments import screen_deployment, watch_deployment
from flows.settings_layers import load_settings
from screening.runs.record import RUN_FILE, write_record


@pytest.fixture
def settings(tmp_path):
    return load_settings(
        None, ["source.kind=parquet", f"source.path={tmp_path / 'x.parquet'}", f"results_dir={tmp_path / 'results'}"]
    )


@pytest.fixture
def database(monkeypatch):
    """A database whose release a test sets, and the events that were sent."""

    class Database:
        release, events, takes_events, failed = "1", [], True, False

    class Memory(dict):
        def set(self, name, value, overwrite):
            self[name] = value

    Database.remembered = Memory()
    monkeypatch.setattr(watch, "Variable", Database.remembered)
    monkeypatch.setattr(watch, "is_to_be_offered_again", lambda _: Database.failed)
    monkeypatch.setattr(watch, "current_release", lambda _: Database.release)
    monkeypatch.setattr(
        watch, "emit_event", lambda **event: Database.events.append(event) or event if Database.takes_events else None
    )
    return Database


def test_a_new_release_is_announced_once(settings, database):
    assert "The release is 1" in watch.announce_new_release(settings)
    assert "still 1" in watch.announce_new_release(settings)
    assert database.events == []
    database.release = "2"
    assert "New release 2 (previously 1)" in watch.announce_new_release(settings)
    assert "still 2" in watch.announce_new_release(settings)
    (event,) = database.events
    assert event["payload"] == {"old": "1", "new": "2"}
    assert event["event"] == watch.NEW_RELEASE_EVENT


def test_the_first_poll_compares_with_the_last_finished_run(settings, database):
    folder = settings.results_dir / "20261101T000000Z-1"
    folder.mkdir(parents=True)
    record = {"run_id": folder.name, "status": "finished", "fingerprint": "1", "db_version": "0"}
    write_record(folder / RUN_FILE, record | {"settings": {"source": {"kind": "parquet"}}})
    assert "(previously 0)" in watch.announce_new_release(settings)
    assert len(database.events) == 1


def test_a_release_that_could_not_be_announced_is_announced_at_the_next_poll(settings, database):
    watch.announce_new_release(settings)
    database.release, database.takes_events = "2", False
    with pytest.raises(watch.WatchError, match="cannot emit events"):
        watch.announce_new_release(settings)
    assert database.remembered == {watch.variable_name(settings.source): "1"}
    database.takes_events = True
    watch.announce_new_release(settings)
    assert [event["payload"]["new"] for event in database.events] == ["2"]


def test_a_release_whose_screen_failed_is_offered_again(settings, database):
    watch.announce_new_release(settings)
    database.release = "2"
    watch.announce_new_release(settings)
    database.failed = True
    assert "failed; it was requested again" in watch.announce_new_release(settings)
    assert [event["payload"]["new"] for event in database.events] == ["2", "2"]


@pytest.mark.parametrize(
    ("states", "offered"),
    [
        ([], False),
        ([StateType.FAILED], True),
        ([StateType.CRASHED, StateType.FAILED], True),
        ([StateType.COMPLETED, StateType.FAILED], False),
        ([StateType.RUNNING], False),
        ([StateType.CANCELLED], False),
        ([StateType.FAILED] * watch.MOST_OFFERS, False),
    ],
)
def test_only_failures_are_offered_again_and_not_for_ever(states, offered, monkeypatch):
    class Client:
        def read_flow_runs(self, **_):
            other = SimpleNamespace(state_type=StateType.FAILED, parameters={"release": None})
            return [other, *(SimpleNamespace(state_type=state, parameters={"release": "2"}) for state in states)]

    monkeypatch.setattr(watch, "get_client", lambda **_: nullcontext(Client()))
    assert watch.is_to_be_offered_again("2") is offered


def test_the_deployment_of_the_screen_hears_the_event_of_its_own_source(settings, tmp_path):
    (trigger,) = screen_deployment(settings).triggers
    assert trigger.expect == {watch.NEW_RELEASE_EVENT}
    assert trigger.match.root["prefect.resource.id"] == watch.resource_id(settings.source)
    assert str(tmp_path) not in watch.resource_id(settings.source)
    assert trigger.parameters == {"release": "{{ event.payload.new }}"}
    (schedule,) = watch_deployment(settings).schedules
    assert schedule.active is False
