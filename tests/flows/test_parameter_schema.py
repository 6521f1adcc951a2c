"""What a server refuses of an assignment the run refuses too, and it says why in words."""

import re

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.parameters import check_assignment, is_of_the_server
from flows.screen import screen_gapped_metals
from flows.settings_layers import SettingsRefusedError, known_fields

SCHEMA = screen_gapped_metals.parameters.model_dump()
KEYS = [key for key in known_fields() if not is_of_the_server(key)]
LIKE_YAML = (
    *(
        "",
        "~",
        "null",
        "true",
        "No",
        "ON",
        "y",
        "1",
        "0",
        "+2",
        "-3",
        "007",
        "1_000",
        "0x1f",
        "0b11",
        "1:30",
        "1.",
        "0.",
        ".5",
    ),
    *(
        "-0",
        "-0.0",
        "1.5",
        "2.0",
        "1e3",
        "1.0e+3",
        "-1.5e-3",
        "inf",
        "-.inf",
        ".NaN",
        "1.2 # eV",
        "'3'",
        '"0.7"',
        "!!int 4",
    ),
    *(
        "[a, b]",
        "[]",
        "[0.5, 1]",
        "[Sr, V]",
        "\n- O\n- F",
        "{a: 1}",
        "{}",
        "auto",
        "mp",
        "relaxed",
        "keep",
        "PBE",
        "polarised",
    ),
    *("catalogue", "gapped", "wide", "results/x", "tcp://10.0.0.1:8786", "2026-01-01", "None"),
)


def refusal(text):
    """What the server says; empty if it accepts the text."""
    try:
        validate({"set": [text]}, SCHEMA, raise_on_error=True)
    except ValidationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gap.minwidth=1", "a KEY of `mat2spec settings` that a run may set"),
        ("gap", "KEY=VALUE"),
        ("serve.port=4201", "that a run may set"),
        ("dft.elk_command=/tmp/evil", "that a run may set"),
        ("classify.functions=[/tmp/evil.py:f]", "that a run may set"),
        ("gap.min_width_ev=wide", "KEY=a number above 0"),
        ("gap.min_width_ev=0", "KEY=a number above 0"),
        ("gap.min_width_ev=", "KEY=a number above 0"),
        ("source.limit=0", "KEY=an integer above 0, or null"),
        ("source.limit=1.5", "KEY=an integer above 0, or null"),
        ("selection.seed=-1", "KEY=an integer from 0 on"),
        ("dft.hubbard_u=yes", "KEY=one of none, mp"),
        ("funnel.mode=sometimes", "KEY=one of auto, always, never"),
        ("run_dft=maybe", "KEY=true or false"),
        ("prediction.models=mat2spec", "KEY=a list in brackets"),
    ],
)
def test_a_wrong_item_is_named_with_what_it_must_be(text, words):
    message = refusal(text)
    assert "for field 'set[0]'" in message
    assert f"'{text}' does not match" in message
    assert words in message
    with pytest.raises(SettingsRefusedError):
        check_assignment(text)


@settings(max_examples=50)
@given(
    st.sampled_from(KEYS), st.one_of(st.sampled_from(LIKE_YAML), st.from_regex(r"[-+]?[0-9._e]{1,6}", fullmatch=True))
)
@example("only_new", "")
@example(" gap.top_min_ev ", " -1.5")
def test_what_a_run_accepts_the_server_accepts(key, value):
    text = f"{key}={value}"
    try:
        check_assignment(text)
    except SettingsRefusedError:
        return
    # But for truth values as numbers and the other way round: 1 is True.
    assert refusal(text) == "" or yaml.safe_load(value) in (True, False)


def test_every_setting_of_a_run_may_be_set_and_a_section_at_once():
    assert len(KEYS) > 100
    assert [key for key in KEYS if "may set" in refusal(f"{key}=1")] == []
    assert refusal("gap={min_width_ev: 2, per_atom: true}") == ""
    assert "may set" in refusal("label.plans={n: 2}")


def test_the_words_of_the_refusals_are_their_patterns():
    patterns = [rule.get("then", rule)["else"]["pattern"] for rule in SCHEMA["properties"]["set"]["items"]["allOf"]]
    assert len(patterns) > 10
    assert not [pattern for pattern in patterns if re.search(r"[\\()|*+?{}\[\]]", pattern)]
