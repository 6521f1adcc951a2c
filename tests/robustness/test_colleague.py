"""Results that only their owner may write are read by everybody: no command that looks at them changes a file."""

from __future__ import annotations

import json

import pytest

from dft_validation.queue.store import JobQueue, QueueError
from flows.commands import dft
from flows.commands.report import make_report
from flows.commands.screen import screen
from flows.commands.tables import RowChoice, print_tables
from flows.commands.why import say_why
from tests.flows.test_kills import _fakes, settings_in, source

__all__ = ["_fakes", "settings_in", "source"]  # fixtures

LOOKS = {
    "dft status": lambda results: dft.print_status(None, results),
    "dft report": lambda results: dft.write_report(None, results),
    "tables": lambda results: print_tables(None, None, RowChoice(limit=5), None, results),
    "picks": lambda results: print_tables("picks", None, RowChoice(limit=5), None, results),
    "why": lambda results: say_why("TiN", None, results),
    "report": lambda results: make_report(None, results, open_it=False),
}


def contents_of(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


@pytest.fixture
def of_a_colleague(settings_in, tmp_path, monkeypatch):
    """Results folders, with the queue and without it, whose permissions let nobody else write."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = screen(settings_in(tmp_path, "run_dft=false"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    return run


@pytest.mark.parametrize("has_queue", [True, False])
def test_looking_at_results_of_a_colleague_changes_nothing(of_a_colleague, tmp_path, capsys, has_queue):
    if has_queue:
        dft.open_queue(of_a_colleague).close()
    before = contents_of(tmp_path / "results")
    for look in LOOKS.values():
        look(tmp_path / "results")
    assert contents_of(tmp_path / "results") == before
    said = " ".join(capsys.readouterr().out.split())
    assert "cannot be written by you; the page goes into the current folder" in said
    assert [path.name for path in (tmp_path / "here").iterdir()] == [f"{of_a_colleague.run_id}-report.html"]
    assert "queued" in said


def test_a_run_in_progress_in_the_folder_of_another_user_is_shown_as_recorded(of_a_colleague, tmp_path, capsys):
    record = of_a_colleague.path / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "running"}))
    lock = of_a_colleague.path / ".lock"
    lock.unlink()
    lock.mkdir()  # whoever runs the tests: it cannot be opened
    dft.print_status(None, tmp_path / "results")
    assert "(running)" in capsys.readouterr().out


def test_a_queue_that_cannot_be_read_gives_a_sentence(tmp_path):
    (tmp_path / "dft_queue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(QueueError, match=r"dft_queue\.sqlite cannot be used"):
        JobQueue.copy_of(tmp_path / "dft_queue.sqlite")
