"""Parameters of a flow run are laid over what was served, each alone."""

import pytest

from flows import pipeline
from flows.parameters import (
    SERVED_VARIABLE,
    check_assignment,
    check_config,
    served_environment,
    served_parameters,
    settings_of_run,
)
from flows.screen import screen_gapped_metals
from flows.settings_layers import SettingsRefusedError, given_settings, load_settings

SERVED = ["source.kind=materials-project", "source.limit=100", "run_dft=true", "gap.min_width_ev=1.2", "dft.workers=3"]


@pytest.fixture
def served(monkeypatch):
    """A run of a deployment that was served with these settings; its parameters as the form fills them in."""
    monkeypatch.setenv(SERVED_VARIABLE, served_environment(given_settings(None, SERVED))[SERVED_VARIABLE])
    return served_parameters(load_settings(None, SERVED))


def test_what_was_served_stays(served):
    assert served == {"source": "materials-project", "limit": 100, "only_new": False, "run_dft": True}
    assert settings_of_run(**served) == load_settings(None, SERVED)


@pytest.mark.parametrize(
    ("changed", "like"),
    [
        ({"run_dft": False}, "run_dft=false"),
        ({"limit": 5}, "source.limit=5"),
        ({"limit": None}, "source.limit=null"),
        ({"only_new": True}, "only_new=true"),
        ({"source": "catalogue"}, "source.kind=catalogue"),
        ({"assignments": ["gap.min_width_ev=2"]}, "gap.min_width_ev=2"),
    ],
)
def test_one_thing_is_changed_alone(served, changed, like):
    assert settings_of_run(**{**served, **changed}) == load_settings(None, [*SERVED, like])


@pytest.mark.parametrize(
    ("given", "only_new"), [({}, True), ({"only_new": False}, False), ({"only_new": False, "release": "2"}, True)]
)
def test_all_is_screened_where_only_what_is_new_was_served(given, only_new, monkeypatch):
    class OpenedError(Exception):
        pass

    def open_run(settings):
        assert settings.only_new is only_new
        raise OpenedError

    monkeypatch.setenv(SERVED_VARIABLE, served_environment({"only_new": True})[SERVED_VARIABLE])
    monkeypatch.setattr(pipeline, "open_run", open_run)
    with pytest.raises(OpenedError):
        screen_gapped_metals.fn(**given)


def test_a_file_lies_between_what_was_served_and_what_was_asked_for(served, tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text("gap: {min_width_ev: 0.7}\nsource: {limit: 7}\nrun_dft: false\n")
    of_file = settings_of_run(**served, config=str(file))
    assert (of_file.gap.min_width_ev, of_file.source.limit, of_file.run_dft, of_file.dft.workers) == (0.7, 7, False, 3)
    asked = settings_of_run(**{**served, "limit": 9}, config=str(file), assignments=["gap.min_width_ev=0.9"])
    assert (asked.gap.min_width_ev, asked.source.limit) == (0.9, 9)


def test_without_a_server_the_environment_counts(monkeypatch):
    monkeypatch.setenv("MAT2SPEC_SOURCE__LIMIT", "4")
    assert settings_of_run().source.limit == 4
    assert settings_of_run(limit=2).source.limit == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gap.minwidth=1", "Unknown setting 'gap.minwidth'.*did you mean"),
        ("source.limit=0", "The setting 'source.limit' cannot be 0: input should be greater than or equal to 1"),
        ("serve.port=1", "'serve.port' is not one of a run; it is set where the screen is served"),
        ("dft.elk_command=/tmp/evil", "'dft.elk_command' is not one of a run"),
        ("classify.functions=[/tmp/evil.py:f]", "'classify.functions' is not one of a run"),
        ("prediction.scheduler=tcp://10.0.0.1:8786", "'prediction.scheduler' is not one of a run"),
        ("gap", "write key=value"),
    ],
)
def test_an_assignment_that_cannot_be_used_is_named(text, message):
    with pytest.raises(SettingsRefusedError, match=message):
        check_assignment(text)


def test_a_file_names_no_program_either(tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text("dft: {elk_command: /tmp/evil}\n")
    with pytest.raises(SettingsRefusedError, match="where the screen is served"):
        check_config(str(file))
    with pytest.raises(SettingsRefusedError, match="cannot be read"):
        check_config(str(tmp_path / "none.yaml"))
