"""Tables written piece by piece: the same files as of a whole table, in the memory of a few pieces."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.commands.table_files import write_ids, write_rows
from flows.commands.tables import RowChoice, TableChoiceError, selected
from mat2spec.tables.parquet import ROWS_PER_GROUP, write_table

N_ROWS = 2 * ROWS_PER_GROUP + 5


@pytest.fixture
def table():
    number = np.arange(N_ROWS)
    late = number > ROWS_PER_GROUP  # unknown values that the first piece does not have
    return pa.table(
        {
            "material_id": [f"mp-{i}" for i in number],
            "n": pa.array(number, pa.int32(), mask=late & (number % 7 == 0)),
            "flag": pa.array(number % 2 == 0, mask=late & (number % 5 == 0)),
            "x": pa.array(number / 3, mask=late & (number % 3 == 0)),
            "word": pa.array(["a, b"] * N_ROWS, mask=late),
            "edos": pa.array([[i, i / 2] if i % 4 else None for i in number], pa.list_(pa.float32())),
        }
    )


@pytest.fixture
def path(table, tmp_path):
    write_table(tmp_path / "rows.parquet", table)
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("limit", [0, 3, ROWS_PER_GROUP + 1])
def test_parquet_of_pieces_holds_the_rows_in_order(table, path, tmp_path, limit):
    with selected(path, RowChoice(), limit) as rows:
        assert write_rows(rows, tmp_path / "out.parquet") == (limit or N_ROWS)
    assert pq.read_table(tmp_path / "out.parquet").equals(table[:limit] if limit else table)


def test_csv_of_pieces_is_that_of_the_whole_table(table, path, tmp_path):
    with selected(path, RowChoice()) as rows:
        write_rows(rows, tmp_path / "out.csv")
    texts = [None if row is None else " ".join(f"{x:.6g}" for x in row) for row in table["edos"].to_pylist()]
    frame = table.to_pandas(types_mapper={pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}.get)
    frame.assign(edos=texts).to_csv(tmp_path / "whole.csv", index=False)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_no_rows_leave_the_names_of_the_columns(path, tmp_path, ending):
    output = tmp_path / f"out{ending}"
    with selected(path, RowChoice(where="n < 0")) as rows:
        assert write_rows(rows, output) == 0
    read = pd.read_csv if ending == ".csv" else pd.read_parquet
    assert list(read(output).columns) == ["material_id", "n", "flag", "x", "word", "edos"]


def test_what_goes_wrong_in_a_late_row_is_said_and_leaves_no_file(path, tmp_path):
    where = f"case when n = {N_ROWS - 6} then cast(material_id as int) else 1 end = 1"
    with pytest.raises(TableChoiceError, match="Could not convert"), selected(path, RowChoice(where=where)) as rows:
        write_rows(rows, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_rows, write_ids])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_only_some_pieces_are_in_memory(tmp_path, write, ending):
    held = []

    def pieces():
        for number in range(40):
            held.append(pa.total_allocated_bytes())
            edos = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(128 * 1000)), 128)
            yield pa.record_batch({"material_id": [f"mp-{number}"] * 1000, "edos": edos})

    one = pa.record_batch(
        {"material_id": [""], "edos": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(128)), 128)}
    )
    assert write(pa.RecordBatchReader.from_batches(one.schema, pieces()), tmp_path / f"out{ending}") == (
        40_000 if write is write_rows else 40
    )
    assert max(held) - held[0] < 15 * 128 * 1000 * 8
