"""Text from outside is data: never markup, terminal commands, code, patterns or paths."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import stat
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Structure

from flows.cli import program
from flows.commands import dft, terminal
from flows.commands.exits import ExitCode
from flows.commands.tables import RowChoice, select_rows
from flows.settings_layers import SettingsRefusedError, load_settings
from mat2spec.crystals.readers import read_structures
from mat2spec.labels.readers.pickles import PickleRefusedError, read_pickle
from mat2spec.models.checkpoints import WeightsError, read_weights
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.tables.files import TableError, atomic_file
from mat2spec.tables.text import one_line, visible
from screening.classify.classes import ClassifierError, mark_targets
from screening.report.queries import query
from screening.report.tables import frame_table
from screening.runs.contents import RunTables
from screening.runs.record import RunError, latest_run, list_runs, short_lock
from tests.robustness.crystal_texts import salt, salt_dict

NAMES = (
    "[red]salt[/red]",
    "[/]",
    "salt[1].x",
    "[link=https://example.org]salt",
    ":smile:",
    "x-😀",
    "ä é 中",
    "<script>alert(1)</script>",
    "</script><b>salt",
    "$a_{b$",
    "a$b$c",
    "salt & pepper",
    "--help",
    "x; rm -rf .",
    "`id` $(id)",
    "%s {0} %n",
    "a'b\"c",
    "*?[a]",
)
CONTROLS = (
    "\x1b[2Jsalt",
    "salt\rother",
    "salt\x07",
    "salt\x9b2J",
    "salt\x1b]0;title\x07",
    "sa\u202elt",
    "salt\x00",
    "salt\x7f",
)


def printed(renderable):
    stream = io.StringIO()
    console = terminal.PlainConsole(file=stream, width=200)
    console.print(renderable)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_letter_by_letter(name):
    assert name in printed(name)
    frame = pd.DataFrame({"material_id": [name], "formula": [name]})
    assert printed(frame_table(frame, title=f"of {name}")).count(name) == 3


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_shown_and_not_obeyed(name):
    for out in (printed(name), printed(frame_table(pd.DataFrame({"id": [name]})))):
        assert "salt" in out.replace("\\u202e", "")
        assert not set(out) & set("\x1b\r\x07\x9b\u202e\x00\x7f")
    assert visible(name) == visible(visible(name))


UNSEEN = (
    "\u2028",
    "\u2029",
    "\u200b",
    "\ufeff",
    "\xad",
    "\u061c",
    "\u2060",
    "\u206a",
    "\ufff9",
    "\U000e0041",
    "\u2066",
)


@pytest.mark.parametrize("sign", UNSEEN, ids=ascii)
def test_what_is_not_seen_in_a_name_is_shown_as_an_escape(sign):
    assert printed(f"sa{sign}lt").strip() == one_line(f"sa{sign}lt") == f"sa{ascii(sign)[1:-1]}lt"


@pytest.mark.parametrize("name", ["नमस्\u200dते", "👩\u200d🔬", "a\u200cb"])
def test_joiners_that_scripts_and_emoji_need_stay(name):
    assert one_line(name) == name


def test_a_console_without_unicode_shows_escapes():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.PlainConsole(file=stream, width=80).print("x-😀 ä \udcff")
    stream.flush()
    assert b"x-\\U0001f600 \\xe4 \\udcff" in stream.buffer.getvalue()


@pytest.mark.parametrize("name", [*NAMES, *(name for name in CONTROLS if "\x00" not in name), "a\nb", "a\tb"])
def test_files_of_any_name_are_predicted_and_drawn(tmp_path, monkeypatch, capfd, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / f"{name.replace('/', '|')}.json"
    file.write_text(json.dumps(salt_dict()))
    ending = "png" if NAMES[0] == name or "$" in name else "html"
    table, plot = tmp_path / "t.parquet", tmp_path / f"p.{ending}"
    code = program.run(["predict", "--model", "mat2spec", "--table", str(table), "--plot", str(plot), "--", str(file)])
    out, err = capfd.readouterr()
    assert code == ExitCode.DONE, err
    (row,) = pq.read_table(table).to_pylist()
    assert row["material_id"] == one_line(str(file))
    assert not set(out) & set("\x1b\r\x07\x9b\u202e\x7f")
    if ending == "html":
        page = plot.read_text(encoding="utf-8")
        assert "<script>alert" not in page
        assert "</script><b>" not in page


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_file_name_that_is_not_unicode_is_read(tmp_path):
    file = tmp_path / os.fsdecode(b"x-\xff.json")
    file.write_text(json.dumps(salt_dict()))
    (entry,) = read_structures([file])
    assert entry.structure == salt()
    pa.array([entry.name])


@pytest.mark.parametrize("identifier", ["\ud800", "a\nb", "../../x", "", 5, None, ["a"], {"a": 1}])
def test_identifiers_of_documents_are_texts(tmp_path, identifier):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([{"material_id": identifier, "structure": salt_dict()}] * 2))
    entries = read_structures([file])
    assert [entry.structure for entry in entries] == [salt(), salt()]
    assert len({entry.name for entry in entries}) == 2
    pa.array([entry.name for entry in entries])


IMPORTS = (
    {"@module": "this", "@class": "s"},
    {"@module": "antigravity", "@class": "x"},
    {"@module": "os", "@callable": "system"},
    {"@module": "builtins", "@class": "eval"},
)


@pytest.mark.parametrize("named", IMPORTS)
@pytest.mark.parametrize("where", ["structure", "lattice", "site", "properties", "species"])
def test_nothing_that_a_structure_names_is_imported(tmp_path, named, where):
    content = salt_dict()
    site = content["sites"][0]
    places = {"structure": content, "lattice": content["lattice"], "site": site, "species": site["species"][0]}
    if where == "properties":
        site["properties"] = {"x": dict(named)}
    else:
        places[where].update(named)
    (tmp_path / "x.json").write_text(json.dumps(content))
    before = set(sys.modules)
    read_structures([tmp_path / "x.json"])
    assert not (set(sys.modules) - before) & {"this", "antigravity"}


def deep(levels):
    value = [0.5]
    for _ in range(levels):
        value = [value, value]
    return value


PICKLES = {
    "doubling 28 times": pickle.dumps(deep(28)),
    "doubling tuples": pickle.dumps(tuple(deep(40))),
    "a far place of the memo": b"\x80\x02]r\xff\xff\xff\x0f.",
    "a far place in text": b"(lp268435455\n.",
    "a length of 2^40": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "a function": pickle.dumps(os.system),
    "a function called": b"cos\nsystem\n(S'true'\ntR.",
    "an import": b"cthis\ns\n.",
    "cut off": pickle.dumps([1.0] * 50)[:60],
    "empty": b"",
    "no pickle": b"\x00" * 64,
    "a text": b"hello, world",
}


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES)
def test_hostile_pickles_are_refused(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(PickleRefusedError, match=r"x\.pkl"):
            read_pickle(tmp_path / "x.pkl")
    assert "this" not in sys.modules


def test_sound_pickles_are_read(tmp_path):
    shared = [1.0, 2.0]
    content = [np.arange(3.0), [shared, shared], salt(), {0: (1, 2)}]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    assert len(read_pickle(tmp_path / "x.pkl")) == 4


def header(text, size=None):
    content = text if isinstance(text, bytes) else text.encode()
    return (len(content) if size is None else size).to_bytes(8, "little") + content


WEIGHTS = {
    "no JSON": header("no JSON"),
    "JSON that is not an object": header("[1, 2]"),
    "bytes that are not text": header(b"\xff\xfe\xfd"),
    "a header longer than the file": header("{}", 2**20),
    "a header of 2^62 bytes": header("{}", 2**62),
    "deep JSON": header("[" * 100_000),
    "without a card": header("{}"),
    "a card that is not JSON": header(json.dumps({"__metadata__": {"mat2spec_card": "hello"}})),
    "a card of another kind": header(json.dumps({"__metadata__": {"mat2spec_card": "[]"}})),
    "a card that lacks fields": header(json.dumps({"__metadata__": {"mat2spec_card": "{}"}})),
    "tensors beyond the end": header(json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}})),
    "a tensor of 2^60": header(json.dumps({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 8]}})),
    "empty": b"",
    "seven bytes": b"1234567",
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_files_that_are_not_weights_are_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("folder", ["a[b]", "a*b", "a?b", "a\nb", "a b", "ä😀", "{x,y}", "'a\"", "a%20b", "~", "-a"])
def test_folders_of_any_name_hold_runs(tmp_path, folder):
    run = tmp_path / folder / "run-1"
    run.mkdir(parents=True)
    record = {"run_id": "x", "status": "finished", "fingerprint": "f", "spectral_grid": EDOS_GRID.to_json()}
    (run / "run.json").write_text(json.dumps(record))
    pq.write_table(pa.table({"material_id": ["mp-1"], "model": ["m"]}), run / "candidates.parquet")
    assert select_rows(run / "candidates.parquet", RowChoice()).table.num_rows == 1
    assert query(RunTables(run), "select count(*) as n from candidates").to_pylist() == [{"n": 1}]
    assert [info["run_id"] for info in list_runs(tmp_path / folder)] == ["run-1"]


@pytest.mark.parametrize("run_id", ["../outside", "/etc", "..", "a/b", "", 5, None, "x\x00"])
def test_the_name_in_a_record_is_no_path(tmp_path, run_id):
    results = tmp_path / "results"
    (results / "run-1").mkdir(parents=True)
    (results / "run-1" / "run.json").write_text(json.dumps({"run_id": run_id, "status": "failed", "fingerprint": "f"}))
    assert [info["run_id"] for info in list_runs(results)] == ["run-1"]


RECORDS = {
    "JSON nested 100,000 times": '{"run_id": "x", "status": "finished", "fingerprint": "f", "a": ' + "[" * 100_000,
    "a number of 5,000 digits": '{"run_id": "x", "status": "finished", "fingerprint": "f", "a": ' + "9" * 5000 + "}",
    "UTF-16": '{"run_id": "x", "status": "finished", "fingerprint": "f"}'.encode("utf-16"),
    "empty": "",
    "a list": "[]",
    **{
        f"{name} that are a number": f'{{"run_id": "x", "status": "finished", "fingerprint": "f", "{name}": 5}}'
        for name in ("settings", "weights_hashes", "versions", "stages")
    },
    "a pipe": None,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS)
def test_an_invalid_record_is_named_and_hides_no_other_run(tmp_path, caplog, content):
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
    (tmp_path / "good" / "run.json").write_text('{"run_id": "good", "status": "finished", "fingerprint": "f"}')
    bad = tmp_path / "bad" / "run.json"
    if content is None:
        os.mkfifo(bad)
    else:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [info["run_id"] for info in list_runs(tmp_path)] == ["good"]
    assert str(bad) in caplog.text


@pytest.mark.parametrize("name", [name for name in CONTROLS if "\x00" not in name])
def test_warnings_about_files_of_any_name_hold_no_controls(tmp_path, capfd, name):
    program.run(["tables", "new", "--results-dir", str(tmp_path)])
    record = logging.makeLogRecord({"msg": "%s is damaged", "args": (tmp_path / name,), "levelno": logging.WARNING})
    logging.lastResort.handle(record)
    err = capfd.readouterr().err
    assert "is damaged" in err
    assert not set(err) & set("\x1b\r\x07\x9b\u202e\x7f")


CONFIGS = {
    "lists nested 2,000 times": ("a: " + "[" * 2000, "nested too deeply"),
    "a number of 5,000 digits": ("gap: {min_width_ev: " + "9" * 5000 + "}", "4300 digits"),
    "an object of Python": ("a: !!python/object/apply:os.system [true]", "python/object"),
    "a key twice": ("gap: {min_width_ev: 1, min_width_ev: 2}", "'min_width_ev' occurs twice"),
    "a heading twice": ("gap: {min_width_ev: 1}\ngap: {top_min_ev: -1}", "'gap' occurs twice"),
    "a mapping that holds itself": ("gap: &a {min_width_ev: *a}", "valid number"),
    "a control character": ("gap: {x\x00: 1}", "not allowed"),
    "a list": ("- a", "has no keys"),
    "a pipe": (None, "is a pipe"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("content", "words"), CONFIGS.values(), ids=CONFIGS)
def test_invalid_settings_are_refused_in_a_sentence(tmp_path, content, words):
    path = tmp_path / "c.yaml"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content)
    with pytest.raises(SettingsRefusedError, match=words):
        load_settings(path)


CONDITIONS = (
    "(select count(*) from read_text('/etc/passwd')) > 0",
    "(select count(*) from read_csv('https://localhost:9/x')) > 0",
    "exists (select * from glob('/*'))",
    "(select count(*) from '/etc/passwd') > 0",
    "true); copy (select 1) to 'outside' --",
    "getenv('HOME') = ''",
)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_of_a_run_folder_reads_no_file(tmp_path, monkeypatch, condition):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"material_id": ["a"], "is_metal": [True]})
    with pytest.raises(ClassifierError, match="cannot be used"):
        mark_targets(table, table[["material_id"]], condition)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_a_run_folder_names_is_not_made_where_it_has_no_place(tmp_path, capsys):
    (tmp_path / "there").mkdir()
    assert dft._usable_cache(tmp_path / "there" / "cache") == tmp_path / "there" / "cache"
    assert dft._usable_cache(tmp_path / "a" / "b") == load_settings().dft.cache_dir
    assert not (tmp_path / "a").exists()
    assert "cannot be used here" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["this:s", "evil.py:f", "os:system"])
def test_code_that_a_run_folder_names_is_not_run(name, monkeypatch):
    of_a_stranger = load_settings(None, [f"classify.functions=[{name}]"])
    with pytest.raises(dft.DftCommandError, match="code that a run folder names is not run"):
        dft.refuse_foreign_classifiers(of_a_stranger)
    monkeypatch.setenv("MAT2SPEC_CLASSIFY__FUNCTIONS", json.dumps([name]))
    dft.refuse_foreign_classifiers(of_a_stranger)


@pytest.mark.parametrize("content", ["../outside", "/etc", "..", "a/../../outside", ""])
def test_latest_points_at_nothing_outside(tmp_path, content):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "run.json").write_text(
        json.dumps({"run_id": "x", "status": "finished", "fingerprint": "f"})
    )
    results = tmp_path / "results"
    results.mkdir()
    (results / "latest").write_text(content)
    with pytest.raises(RunError):
        latest_run(results)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_linked_lock_harms_no_file(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(TableError, match="symbolic link"), short_lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664), (0o027, 0o640)])
def test_new_files_obey_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / "x") as file:
            file.write(b"x")
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_structures_of_strangers_keep_their_atoms():
    assert Structure.from_dict(salt_dict()) == salt()
