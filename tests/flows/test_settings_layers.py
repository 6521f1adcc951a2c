"""Settings: precedence, refusals, and that a refusal says what to do."""

import pytest
import yaml
from pydantic import BaseModel

from flows.settings import ScreenSettings
from flows.settings_layers import SettingsRefusedError, known_fields, list_settings, load_model, load_settings
from mat2spec.training.settings import TrainingSettings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "screen.yaml"
    path.write_text("gap:\n  min_width_ev: 1.1\n  top_min_ev: -0.9\nselection:\n  seed: 5\nfilters:\n")
    return path


def test_defaults_are_those_of_the_classes():
    assert load_settings() == ScreenSettings()


def test_the_command_line_overrides_the_environment_the_file_and_the_default(file, monkeypatch):
    monkeypatch.setenv("MAT2SPEC_GAP__MIN_WIDTH_EV", "1.2")
    monkeypatch.setenv("MAT2SPEC_GAP__TOP_MIN_EV", "-0.8")
    settings = load_settings(file, ["gap.min_width_ev=1.3"])
    assert settings.gap.min_width_ev == 1.3
    assert settings.gap.top_min_ev == -0.8
    assert settings.selection.seed == 5
    assert settings.gap.dos_threshold_states_per_ev == 0.7


def test_every_source_is_named_in_the_list(file, monkeypatch):
    monkeypatch.setenv("MAT2SPEC_SELECTION__MAX_POSITIVES", "3")
    listed = {setting.key: setting for setting in list_settings(file, ["run_dft=false"])}
    assert listed["gap.min_width_ev"].source == str(file)
    assert listed["selection.max_positives"].source == "environment"
    assert listed["run_dft"].source == "command line"
    assert listed["run_dft"].value is False
    assert listed["run_dft"].default is True
    assert listed["gap.per_atom"].source == "default"


def test_lists_come_from_all_sources(tmp_path, monkeypatch):
    monkeypatch.setenv("MAT2SPEC_FILTERS__EXCLUDED_ELEMENTS", '["Tc", "U"]')
    assert load_settings().filters.excluded_elements == ("Tc", "U")
    assert load_settings(None, ["filters.excluded_elements=[Pu]"]).filters.excluded_elements == ("Pu",)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("gap.min_widht_ev", "gap.min_width_ev"),
        ("min_width_ev", "gap.min_width_ev"),
        ("selection.sed", "selection.seed"),
        ("dft.kpoint_densty", "dft.kpoint_density"),
    ],
)
def test_an_unknown_key_on_the_command_line_names_the_nearest(key, nearest):
    with pytest.raises(SettingsRefusedError, match=f"Unknown setting '{key}' in .*; did you mean '{nearest}'"):
        load_settings(None, [f"{key}=1"])


def test_an_unknown_key_in_a_file_names_file_and_nearest(tmp_path):
    path = tmp_path / "typo.yaml"
    path.write_text("gap:\n  min_with_ev: 1\n")
    with pytest.raises(
        SettingsRefusedError, match=r"'gap\.min_with_ev' in the settings file .*typo\.yaml.*'gap\.min_width_ev'"
    ):
        load_settings(path)


def test_an_unknown_variable_with_our_prefix_is_refused_and_others_are_left_alone(monkeypatch):
    monkeypatch.setenv("MAT2SPEC_DATA_DIR", "/somewhere")
    monkeypatch.setenv("OTHER_GAP__MIN_WIDT_EV", "1")
    load_settings()
    monkeypatch.setenv("MAT2SPEC_GAP__MIN_WIDT_EV", "1")
    with pytest.raises(SettingsRefusedError, match="did you mean 'MAT2SPEC_GAP__MIN_WIDTH_EV'"):
        load_settings()


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("gap.min_width_ev=-1", "'gap.min_width_ev' cannot be -1: input should be greater than 0"),
        ("gap.min_width_ev=wide", "'gap.min_width_ev' cannot be 'wide'"),
        ("gap=3", "'gap' cannot be 3"),
        ("filters.n_elements_max=-2", "negative"),
        ("gap.top_min_ev=-0.1", "top_min_ev"),
        ("run_dft", "write key=value"),
        ("gap.min_width_ev=[", "not valid YAML"),
    ],
)
def test_values_that_do_not_fit_are_sentences(assignment, sentence):
    with pytest.raises(SettingsRefusedError, match=sentence.replace(".", r"\.")):
        load_settings(None, [assignment])


@pytest.mark.parametrize(
    ("content", "sentence"), [("gap: [1", "not valid YAML"), ("- a\n- b\n", "has no keys"), ("gap:\n", None)]
)
def test_files_that_hold_no_settings(tmp_path, content, sentence):
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    if sentence is None:
        assert load_settings(path) == ScreenSettings()
        return
    with pytest.raises(SettingsRefusedError, match=sentence):
        load_settings(path)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(SettingsRefusedError, match=r"none\.yaml cannot be read: No such file"):
        load_settings(tmp_path / "none.yaml")


def test_every_setting_is_described_and_has_a_default():
    undescribed = [key for key, field in known_fields().items() if not field.description or field.is_required()]
    assert undescribed == []


def test_a_dump_is_a_settings_file(tmp_path, file):
    path = tmp_path / "all.yaml"
    before = load_settings(file)
    path.write_text(yaml.safe_dump(before.model_dump(mode="json")))
    assert load_settings(path) == before


def test_what_does_not_change_a_result_does_not_change_the_run():
    plain = load_settings().of_the_run()
    assert load_settings(None, ["serve.port=4444", "results_dir=elsewhere"]).of_the_run() == plain
    assert load_settings(None, ["gap.min_width_ev=1.5"]).of_the_run() != plain


def test_other_classes_of_settings_are_filled_with_the_same_care():
    assert load_model(TrainingSettings, None, ["epochs=3"]).epochs == 3
    with pytest.raises(SettingsRefusedError, match="did you mean 'epochs'"):
        load_model(TrainingSettings, None, ["epoch=3"])


def test_all_parts_refuse_unknown_keys():
    parts = [field.annotation for field in ScreenSettings.model_fields.values()]
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    assert len(models) >= 8
    assert all(model.model_config.get("extra") == "forbid" for model in [ScreenSettings, *models])
