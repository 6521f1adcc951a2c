"""`mat2spec fetch` against an S3 on loopback: what it writes, what it says, and that training takes it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli.program import run
from mat2spec.labels.reserved import RESERVED_FILE, STRUCTURES_FILE
from tests.screening.sources.materials_project.loopback import legacy_id, make_documents, stored_id
from tests.screening.sources.materials_project.open_s3 import OpenS3, dos_row

N_DOCUMENTS = 30


@pytest.fixture(scope="module")
def s3():
    server = OpenS3()
    yield server
    server.stop()


@pytest.fixture
def open_data(s3, monkeypatch, tmp_path):
    """Materials with phonons and electrons in the open data; nobody has a key."""
    s3.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.delenv("MAT2SPEC_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    documents = [
        {**document, "dos": {"task_id": document["material_id"]}, "phonon_IDs": {"dfpt": [document["material_id"]]}}
        for document in make_documents(N_DOCUMENTS)
    ]
    s3.write_summary(documents)
    return documents


def test_electronic_spectra_come_with_what_was_left_out(s3, open_data, tmp_path, capsys):
    rows = [dos_row(stored_id(index)) for index in range(N_DOCUMENTS)]
    s3.write_total_dos([*rows, dos_row("mp-aaaazzzz")])
    assert run(["fetch", "edos", "--to", "edos.parquet"]) == 0
    output = capsys.readouterr().out
    assert f"{N_DOCUMENTS} spectra in edos.parquet" in output
    assert "1 left out: calculation of no valid material" in output
    assert pq.read_table("edos.parquet")["material_id"].to_pylist() == [legacy_id(i) for i in range(N_DOCUMENTS)]


def test_reserved_materials_stay_out_if_the_data_folder_is_named(s3, open_data, tmp_path, capsys):
    s3.write_total_dos([dos_row(stored_id(index)) for index in range(N_DOCUMENTS)])
    data = tmp_path / "data"
    data.mkdir()
    formula = open_data[1]["formula_pretty"]
    (data / RESERVED_FILE).write_text("reserved-1\n")
    pq.write_table(pa.table({"material_id": ["reserved-1"], "formula": [formula]}), data / STRUCTURES_FILE)
    assert run(["fetch", "edos", "--to", "edos.parquet", "--data", str(data)]) == 0
    assert "left out: reserved formula" in capsys.readouterr().out
    assert formula not in pq.read_table("edos.parquet")["formula"].to_pylist()


def test_phonon_spectra_come_with_three_modes_per_atom(s3, open_data):
    frequencies = np.linspace(-1, 12, 651)
    dos = {"frequencies": frequencies, "densities": np.where((frequencies > 1) & (frequencies < 9), 1.0, 0.0)}
    s3.write_phonon_dos([{"identifier": stored_id(i), "phonon_method": "dfpt", "dos": dos} for i in range(4)])
    assert run(["fetch", "phdos", "--to", "phdos_dfpt.parquet"]) == 0
    table = pq.read_table("phdos_dfpt.parquet")
    integrals = [20 * sum(spectrum) for spectrum in table["phdos_51"].to_pylist()]
    assert integrals == pytest.approx([3 * len(numbers) for numbers in table["atomic_numbers"].to_pylist()], rel=1e-4)


def test_without_the_table_there_is_a_sentence_and_no_file(open_data, tmp_path, capsys):
    assert run(["fetch", "edos", "--to", "edos.parquet"]) == 1
    assert "There is no Delta table at s3a://materialsproject-parsed" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.parquet"))
