from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY, SpectralGrid
from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import read_metadata
from screening.runs.folder import RunFolder
from screening.runs.record import OPEN_MARK, RunError, RunLockedError, latest_run, list_runs, point_latest
from screening.runs.schemas import SchemaError, TableName

SETTINGS = {"filter": {"band_gap_max_ev": 0.05}, "seed": 1}
COUNTS = pd.DataFrame(
    {"filter": ["band gap"], "removed": [1], "unknown_removed": [0], "unknown_kept": [0], "remaining": [2]}
)


def open_run(results, **changes):
    arguments = {
        "settings": SETTINGS,
        "weights_hashes": {"mat2spec": "abc"},
        "source_fingerprint": "f" * 64,
        "db_version": "2026.11.1",
    }
    return RunFolder.open(results, **(arguments | changes))


def part(index):
    spectrum = [float(index)] * EDOS_GRID.size
    return pa.table(
        {
            "material_id": [f"mp-{index}"],
            "model": ["mat2spec"],
            "status": ["ok"],
            "reason": [""],
            "edos": [spectrum],
            "scale_states": [1.0],
            "uncertainty": [spectrum],
            "weights_hash": ["abc"],
        }
    )


def interrupt_after_the_filter(run):
    run.write_table("filter_counts", COUNTS)
    raise KeyboardInterrupt


def test_a_run_writes_tables_with_their_provenance(tmp_path):
    with open_run(tmp_path) as run:
        path = run.write_table("filter_counts", COUNTS, {"note": "small"})
        metadata = read_metadata(path)
        assert run.read_table("filter_counts").to_dict("list") == COUNTS.to_dict("list")
    assert metadata["run_id"] == run.run_id
    assert metadata["db_version"] == "2026.11.1"
    assert metadata["source_fingerprint"] == "f" * 64
    assert metadata["note"] == "small"
    assert "torch" in json.loads(metadata["versions"])
    assert SpectralGrid.from_json(metadata[GRID_METADATA_KEY]) == EDOS_GRID


def test_the_record_tells_how_the_run_was_made(tmp_path):
    with open_run(tmp_path) as run:
        run.record("filter", 1.0, {"remaining": 2})
        run.finish()
    info = json.loads((run.path / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["settings"] == SETTINGS
    assert info["weights_hashes"] == {"mat2spec": "abc"}
    assert info["stages"]["filter"]["counts"] == {"remaining": 2}
    assert info["stages"]["filter"]["seconds"] >= 0
    assert run.run_id.endswith(info["fingerprint"][:8])


def test_an_unfinished_run_is_taken_up(tmp_path):
    first = open_run(tmp_path)
    with pytest.raises(KeyboardInterrupt), first:
        interrupt_after_the_filter(first)
    assert first.info["status"] == "interrupted"
    (first.path / ".candidates.parquet.abcd.partial").write_bytes(b"half")
    with open_run(tmp_path) as second:
        assert second.path == first.path
        assert second.has_table("filter_counts")
        assert not second.has_table(TableName.CANDIDATES)
        assert second.info["status"] == "running"
        assert second.info["resumed"] == 1
        assert not list(second.path.glob("*.partial"))


def test_a_failed_run_keeps_its_reason_and_can_be_taken_up(tmp_path):
    with pytest.raises(ValueError, match="weights"), open_run(tmp_path) as first:
        raise ValueError("The weights do not fit.")
    assert (first.info["status"], first.info["reason"]) == ("failed", "The weights do not fit.")
    with open_run(tmp_path) as second:
        assert second.run_id == first.run_id


@pytest.mark.parametrize(
    "change",
    [{"settings": {"seed": 2}}, {"weights_hashes": {"mat2spec": "new"}}, {"source_fingerprint": "0" * 64}],
)
def test_other_settings_weights_or_crystals_make_another_run(tmp_path, change):
    with open_run(tmp_path) as first, open_run(tmp_path, **change) as second:
        assert first.path != second.path


def test_a_finished_run_is_neither_taken_up_nor_changed(tmp_path):
    with open_run(tmp_path) as first:
        first.write_table("filter_counts", COUNTS)
        first.finish()
    with open_run(tmp_path) as second:
        assert second.path != first.path
    with pytest.raises(RunError, match="is finished and can no longer be changed"):
        RunFolder.attach(first.path).write_table("filter_counts", COUNTS)


def test_two_users_of_one_run_are_kept_apart(tmp_path):
    with open_run(tmp_path), pytest.raises(RunLockedError, match="Another process is working on the run"):
        open_run(tmp_path)
    open_run(tmp_path).close()


def test_two_processes_on_one_run_are_kept_apart_and_a_killed_one_lets_go(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom screening.runs.folder import RunFolder\n"
        "run = RunFolder.open(Path(sys.argv[1]), {'seed': 1})\nprint(run.run_id, flush=True)\ntime.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        run_id = other.stdout.readline().strip()
        with pytest.raises(RunLockedError, match=run_id):
            RunFolder.open(tmp_path, {"seed": 1})
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with RunFolder.open(tmp_path, {"seed": 1}) as run:
        assert run.run_id == run_id


def test_parts_are_merged_and_only_missing_ones_are_asked_for(tmp_path):
    with open_run(tmp_path) as run:
        run.write_shard("predictions", 1, part(1))
        with pytest.raises(RunError, match=r"1 of 2 parts .* the first being part 0"):
            run.merge_shards("predictions", 2)
        RunFolder.attach(run.path).write_shard("predictions", 0, part(0))
        assert run.has_shard("predictions", 0)
        run.merge_shards("predictions", 2)
        table = run.read_arrow("predictions", ["material_id"])
        assert table["material_id"].to_pylist() == ["mp-0", "mp-1"]
        assert read_metadata(run.table_path("predictions"))["run_id"] == run.run_id
        assert not (run.path / "shards").exists()


def test_parts_survive_a_stop_and_are_removed_once_the_table_is_there(tmp_path):
    run = open_run(tmp_path)
    run.write_shard("predictions", 0, part(0))
    run.close()
    with open_run(tmp_path) as run:
        assert run.has_shard("predictions", 0)
        run.write_table("predictions", part(0))
    with open_run(tmp_path) as run:
        assert not run.has_shard("predictions", 0)


def test_a_table_that_breaks_its_schema_is_not_written(tmp_path):
    with open_run(tmp_path) as run:
        with pytest.raises(SchemaError, match="lacks the columns"):
            run.write_table("filter_counts", COUNTS.drop(columns="removed"))
        with pytest.raises(ValueError, match="nonsense"):
            run.write_table("nonsense", COUNTS)
        assert not list(run.path.glob("*.parquet"))


def test_a_full_disk_leaves_the_run_as_it_was(tmp_path, monkeypatch):
    with open_run(tmp_path) as run:
        before = run.info

        def no_space(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("mat2spec.tables.files.os.fsync", no_space)
            with pytest.raises(TableError, match="The disk is full"):
                run.write_table("filter_counts", COUNTS)
            with pytest.raises(TableError, match="The disk is full"):
                run.record("filter", 1.0)
        assert run.info == before
        assert not run.has_table("filter_counts")
        run.write_table("filter_counts", COUNTS)


def test_a_full_disk_at_the_start_leaves_no_folder(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mat2spec.tables.files.os.fsync", no_space)
    with pytest.raises(TableError, match="The disk is full"):
        open_run(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.skipif(os.name != "posix", reason="permissions are a Unix facility here")
def test_results_that_cannot_be_written_give_a_sentence(tmp_path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom screening.runs.folder import RunFolder\n"
        "from mat2spec.tables.files import TableError\n"
        "os.geteuid() or os.seteuid(65534)\n"
        "try:\n    RunFolder.open(Path(sys.argv[1]), {})\nexcept TableError as error:\n    print(error)\n"
    )
    tmp_path.chmod(0o500)
    try:
        command = [sys.executable, "-c", script, str(tmp_path / "results")]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    finally:
        tmp_path.chmod(0o700)
    assert answer.stdout.startswith("No permission to write")
    assert not list(tmp_path.iterdir())


def test_threads_record_their_stages_without_losing_any(tmp_path):
    with open_run(tmp_path) as run:
        attached = RunFolder.attach(run.path)
        threads = [threading.Thread(target=attached.record, args=(f"stage {index}", 0.1)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(run.info["stages"]) == 8


def test_latest_points_to_the_last_finished_run(tmp_path):
    with pytest.raises(RunError, match="Run `mat2spec screen` first"):
        latest_run(tmp_path)
    for seed in (1, 2):
        with open_run(tmp_path, settings={"seed": seed}) as run:
            run.finish()
        assert latest_run(tmp_path).resolve() == run.path.resolve()
    with open_run(tmp_path, settings={"seed": 3}):
        assert latest_run(tmp_path).resolve() == run.path.resolve()
    assert (tmp_path / "latest").is_symlink()
    assert RunFolder.attach(tmp_path / "latest").run_id == run.run_id
    assert [info["settings"]["seed"] for info in list_runs(tmp_path)] == [1, 2, 3]


def test_a_run_that_has_not_finished_is_named_where_there_is_no_other(tmp_path):
    with open_run(tmp_path) as run, pytest.raises(RunError, match=f"{run.path.name}, is running"):
        latest_run(tmp_path)


def test_latest_is_a_file_where_links_cannot_be(tmp_path, monkeypatch):
    def refuse(self, target, target_is_directory=False):
        raise OSError(errno.EPERM, "no links here")

    with open_run(tmp_path) as run:
        monkeypatch.setattr(Path, "symlink_to", refuse)
        run.finish()
    assert (tmp_path / "latest").read_text() == run.run_id
    assert latest_run(tmp_path) == run.path


def test_latest_that_is_gone_gives_a_sentence(tmp_path):
    (tmp_path / "some-run").mkdir()
    point_latest(tmp_path / "some-run")
    with pytest.raises(RunError, match="points to some-run, which is gone"):
        latest_run(tmp_path)


def test_a_damaged_record_is_named_and_does_not_stop_a_new_run(tmp_path, caplog):
    with open_run(tmp_path) as first:
        pass
    (first.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        _ = first.info
    with open_run(tmp_path) as second:
        assert second.path != first.path
    assert "is damaged" in caplog.text


def test_a_folder_that_is_not_a_run_gives_a_sentence(tmp_path):
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder.attach(tmp_path)


def test_parts_of_no_candidates_are_an_empty_table(tmp_path):
    with open_run(tmp_path) as run:
        run.merge_shards("predictions", 0)
        assert run.read_arrow("predictions").num_rows == 0
        assert "edos" in run.read_arrow("predictions").column_names


def test_stages_are_done_again_when_asked(tmp_path):
    with open_run(tmp_path) as run:
        run.record("filter", 1.0)
        run.record("predict", 1.0)
        run.redo(["predict", "never done"])
        assert list(run.info["stages"]) == ["filter"]
        assert run.info["redone"] == 1


def test_a_run_that_was_killed_after_its_last_table_is_not_begun_anew(tmp_path):
    run = open_run(tmp_path)
    run.finish()
    (run.path / OPEN_MARK).touch()  # as a kill between the last table and the end of the process leaves it
    with open_run(tmp_path) as again:
        assert again.path == run.path
        again.finish()
    assert not (run.path / OPEN_MARK).exists()
    with open_run(tmp_path) as another:
        assert another.path != run.path


def test_what_killed_processes_left_beside_the_runs_is_removed(tmp_path):
    with open_run(tmp_path) as run:
        run.finish()
    for name in (".new-2026", ".discarded-2026"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text((run.path / "run.json").read_text())
    (tmp_path / ".latest-12345678").symlink_to(run.run_id)
    (tmp_path / ".latest.abcd.partial").write_text("half")
    assert [info["run_id"] for info in list_runs(tmp_path)] == [run.run_id]
    with open_run(tmp_path, settings={"seed": 2}) as other:
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {run.run_id, other.run_id, "latest", ".lock"}


def test_a_renamed_folder_is_a_run_of_that_name(tmp_path):
    with open_run(tmp_path / "here") as run:
        run.finish()
    moved = run.path.rename(tmp_path / "here" / "brass")
    assert [info["run_id"] for info in list_runs(tmp_path / "here")] == ["brass"]
    assert RunFolder.attach(moved).run_id == "brass"


def test_crystals_of_a_run_without_coordinates_give_a_sentence(tmp_path):
    with open_run(tmp_path) as run, pytest.raises(RunError, match=r"made by version 0\.1"):
        run.crystals(["mp-1"])


def test_runs_of_one_second_are_listed_in_the_order_in_which_they_were_made(tmp_path):
    made = []
    for seed in range(8):
        with open_run(tmp_path, settings={"seed": seed}) as run:
            made.append(run.run_id)
    assert [info["run_id"] for info in list_runs(tmp_path)] == made
