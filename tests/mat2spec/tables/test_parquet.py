from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mat2spec.tables.files import TableError, atomic_file, explain_os_error, make_folder, remove_unfinished_files
from mat2spec.tables.parquet import (
    concatenate_tables,
    count_rows,
    list_column,
    matrix_column,
    read_batches,
    read_frame,
    read_metadata,
    read_rows,
    read_table,
    write_table,
)

FRAME = pd.DataFrame({"material_id": ["mp-1", "mp-2"], "nsites": [1, 2], "band_gap": [0.0, np.nan]})


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_table_comes_back_with_its_metadata(tmp_path):
    write_table(tmp_path / "t.parquet", FRAME, {"run_id": "now"})
    table = read_table(tmp_path / "t.parquet")
    assert table.to_pydict() == {"material_id": ["mp-1", "mp-2"], "nsites": [1, 2], "band_gap": [0.0, None]}
    assert read_metadata(tmp_path / "t.parquet") == {"run_id": "now"}
    assert contents(tmp_path) == ["t.parquet"]


def test_null_flags_stay_null(tmp_path):
    write_table(tmp_path / "t.parquet", pa.table({"is_metal": [True, None, False]}))
    assert read_frame(tmp_path / "t.parquet")["is_metal"].tolist() == [True, pd.NA, False]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_full_disk_leaves_the_old_table_or_none(tmp_path, monkeypatch, number, earlier):
    path = tmp_path / "t.parquet"
    if earlier:
        write_table(path, FRAME)

    def no_space(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mat2spec.tables.files.os.fsync", no_space)
    with pytest.raises(TableError, match=r"t\.parquet") as caught:
        write_table(path, FRAME.head(1))
    assert number != errno.ENOSPC or "The disk is full" in str(caught.value)
    assert contents(tmp_path) == (["t.parquet"] if earlier else [])
    assert not earlier or len(read_table(path)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, a device that is always full")
def test_a_disk_that_is_really_full_while_arrow_writes(tmp_path, monkeypatch):
    real_open = Path.open

    def open_full(self, mode="r", **options):
        real_open(self, mode).close()
        return real_open(Path("/dev/full"), mode, **options)

    table = pa.table({"edos": list_column(np.random.default_rng(0).random((2000, 128)))})
    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(TableError, match="The disk is full"):
        write_table(tmp_path / "t.parquet", table)
    assert contents(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="file size limits are a Unix facility")
def test_a_limit_that_the_system_sets_stops_the_write_and_leaves_nothing(tmp_path):
    script = (
        "import resource, signal, sys, numpy as np, pyarrow as pa\n"
        "from pathlib import Path\n"
        "from mat2spec.tables.files import TableError\n"
        "from mat2spec.tables.parquet import list_column, write_table\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "table = pa.table({'edos': list_column(np.random.default_rng(0).random((2000, 128)))})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    write_table(Path(sys.argv[1]) / 't.parquet', table)\n"
        "except TableError as error:\n    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert "larger than a file may be" in answer.stdout
    assert contents(tmp_path) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing(tmp_path, interruption):
    def write_half():
        with atomic_file(tmp_path / "run.json") as file:
            file.write(b"half a")
            raise interruption

    with pytest.raises(interruption):
        write_half()
    assert contents(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are a Unix facility here")
def test_a_folder_without_permission_gives_sentences(tmp_path):
    script = (
        "import os, sys, pandas as pd\nfrom pathlib import Path\n"
        "from mat2spec.tables.files import TableError, make_folder\nfrom mat2spec.tables.parquet import read_table, write_table\n"
        "import mat2spec.tables.files, pyarrow.parquet\n"
        "folder, frame = Path(sys.argv[1]), pd.DataFrame({'n': [1]})\n"
        "os.geteuid() or os.seteuid(65534)\n"
        "for action in (lambda: write_table(folder / 't.parquet', frame), lambda: make_folder(folder / 'new'),\n"
        "               lambda: read_table(folder / 'locked.parquet')):\n"
        "    try:\n        action()\n    except TableError as error:\n        print(error)\n"
    )
    write_table(tmp_path / "locked.parquet", FRAME)
    (tmp_path / "locked.parquet").chmod(0)
    tmp_path.chmod(0o500)
    try:
        command = [sys.executable, "-c", script, str(tmp_path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    finally:
        tmp_path.chmod(0o700)
    sentences = answer.stdout.splitlines()
    assert [sentence.split(str(tmp_path))[0] for sentence in sentences] == [
        "No permission to write ",
        "No permission to write ",
        "No permission to read ",
    ]
    assert contents(tmp_path) == ["locked.parquet"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT])
def test_every_refusal_of_the_system_says_what_to_do(tmp_path, monkeypatch, number):
    def refuse(self, mode):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(TableError, match=r"(another folder|Check the path)\.$"):
        write_table(tmp_path / "t.parquet", FRAME)


def test_a_file_where_a_folder_is_needed_gives_a_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(TableError, match="is a file, a folder is needed"):
        make_folder(tmp_path / "results")
    with pytest.raises(TableError, match="is a file, not a folder"):
        make_folder(tmp_path / "results" / "run")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 10])
def test_a_damaged_table_gives_a_sentence(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_off_table_gives_a_sentence(tmp_path, share):
    path = tmp_path / "t.parquet"
    write_table(path, FRAME)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_frame(path)


def test_whichever_byte_of_a_table_is_lost_its_columns_stay_equally_long(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, pa.table({"material_id": ["a", "b", "c"], "atomic_numbers": [[1], [2, 3], [4]]}))
    content = path.read_bytes()
    lengths = set()
    for place in range(4, len(content)):
        path.write_bytes(content[:place] + b"\0" + content[place + 1 :])
        try:
            lengths |= {len(read_table(path, [name])) for name in ("material_id", "atomic_numbers")}
            read_rows(path, ["atomic_numbers"], np.array([0, 2]))
        except TableError:
            continue
    assert lengths == {3}


def test_a_missing_table_a_folder_and_a_missing_column_give_sentences(tmp_path):
    with pytest.raises(TableError, match="There is no table at"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="is a folder"):
        read_table(tmp_path)
    write_table(tmp_path / "t.parquet", FRAME)
    with pytest.raises(TableError, match="lacks the column edos; it has material_id, nsites, band_gap"):
        read_table(tmp_path / "t.parquet", ["material_id", "edos"])


def test_unknown_errors_keep_the_words_of_the_system(tmp_path):
    error = explain_os_error(OSError(errno.ENOTTY, "Inappropriate ioctl"), tmp_path, "read")
    assert str(error) == f"Cannot read {tmp_path}: Inappropriate ioctl."


def test_what_a_killed_process_left_is_removed(tmp_path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mat2spec.tables.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1]) / 't.parquet') as file:\n    file.write(b'half')\n    os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, cwd=Path(__file__).parents[3])
    assert len(contents(tmp_path)) == 1
    (tmp_path / "t.parquet").write_bytes(b"whole")
    assert len(remove_unfinished_files(tmp_path)) == 1
    assert contents(tmp_path) == ["t.parquet"]


def test_parts_are_joined_in_order(tmp_path):
    parts = (pa.table({"n": [index, index + 10]}) for index in range(3))
    assert concatenate_tables(tmp_path / "all.parquet", parts, {"run_id": "now"}) == 6
    assert read_table(tmp_path / "all.parquet")["n"].to_pylist() == [0, 10, 1, 11, 2, 12]
    assert read_metadata(tmp_path / "all.parquet")["run_id"] == "now"
    assert count_rows(tmp_path / "all.parquet") == 6


def test_parts_of_another_kind_leave_no_table(tmp_path):
    with pytest.raises(TableError, match="has other columns than"):
        concatenate_tables(tmp_path / "all.parquet", [pa.table({"n": [1]}), pa.table({"m": ["x"]})])
    assert contents(tmp_path) == []


def test_a_table_is_read_piece_by_piece_in_order(tmp_path):
    write_table(tmp_path / "all.parquet", pa.table({"n": range(20_000), "m": range(20_000)}))
    pieces = list(read_batches(tmp_path / "all.parquet", ["n"]))
    assert [len(piece) for piece in pieces] == [8192, 8192, 3616]
    assert pa.concat_tables(pieces)["n"].to_pylist() == list(range(20_000))


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(0, 9, width=32)),
    st.data(),
)
def test_spectra_survive_as_lists_and_bad_rows_become_null(matrix, data):
    bad = data.draw(st.lists(st.integers(0, len(matrix) - 1), unique=True))
    matrix[bad, 0] = np.nan
    column = list_column(matrix)
    assert column.type == pa.list_(pa.float32())
    assert column.null_count == len(bad)
    for table in (pa.table({"edos": column}), pa.table({"edos": column}).to_pandas()):
        back = matrix_column(table, "edos", matrix.shape[1])
        matrix[bad] = np.nan
        np.testing.assert_array_equal(back, matrix)


def test_lists_of_another_length_are_refused():
    with pytest.raises(TableError, match="a list of 2 numbers where 128 are needed"):
        matrix_column(pa.table({"edos": [[1.0, 2.0]]}), "edos", 128)
