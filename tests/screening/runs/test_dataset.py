"""Runs as one dataset: in a folder, in an S3 store on the loopback, and in any file system of fsspec."""

import boto3
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from moto.server import ThreadedMotoServer

from mat2spec.tables.files import TableError
from mat2spec.tables.parquet import concatenate_tables
from screening.runs import dataset
from screening.runs.contents import RunTables
from screening.runs.dataset import add_to_dataset, open_address

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}


@pytest.fixture
def runs(tmp_path):
    """Two runs with a table of three row groups each, which are more than one part."""
    made = []
    for number in range(2):
        run = RunTables(tmp_path / f"run-{number}")
        run.path.mkdir()
        pieces = [
            pa.table(
                {"material_id": [f"mp-{number}{group}{row}" for row in range(5)], "edos": [[float(group)] * 4] * 5}
            )
            for group in range(3)
        ]
        concatenate_tables(run.table_path("predictions"), pieces, {"grid": "edos"})
        made.append(run)
    return made


@pytest.fixture
def s3(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="screens")
    yield "s3://screens/all"
    server.stop()


def check(runs, address, monkeypatch):
    monkeypatch.setattr(dataset, "GROUPS_PER_PART", 2)
    for _ in range(2):  # a repetition replaces what is there
        assert [add_to_dataset(run, address) for run in runs] == [15, 15]
    filesystem, root = open_address(address)
    found = ds.dataset(root, filesystem=filesystem, partitioning="hive")
    assert len(found.files) == 4
    assert found.schema.metadata[b"grid"] == b"edos"
    own = found.to_table(filter=ds.field("run_id") == "run-1").select(["material_id", "edos"])
    assert own.sort_by("material_id").equals(
        runs[1].read_arrow("predictions").replace_schema_metadata(own.schema.metadata)
    )
    assert set(found.to_table()["table"].to_pylist()) == {"predictions"}


def test_in_a_folder(runs, tmp_path, monkeypatch):
    check(runs, str(tmp_path / "all"), monkeypatch)


def test_in_a_store_that_speaks_s3(runs, s3, monkeypatch):
    check(runs, s3, monkeypatch)


def test_in_a_file_system_of_fsspec(runs, monkeypatch):
    check(runs, "memory://screens/all", monkeypatch)


def test_what_cannot_be_reached_is_a_sentence(runs, tmp_path):
    with pytest.raises(TableError, match="The address nowhere://x cannot be used"):
        add_to_dataset(runs[0], "nowhere://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="The table predictions cannot be written to"):
        add_to_dataset(runs[0], str(tmp_path / "file"))
