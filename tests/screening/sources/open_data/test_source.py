"""The open-data copy as a source and as training spectra, from Delta tables on a loopback S3 that asks for no key."""

import copy
import json
import subprocess
import sys
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Element

from mat2spec.crystals.hubbard import u_values_ev
from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.edos_store import read_edos_store
from mat2spec.labels.readers.data_folder import _load_dfpt, load_edos
from mat2spec.spectra.grids import EDOS_GRID, PHDOS_GRID
from mat2spec.tables.parquet import read_metadata
from screening.settings import SourceSettings
from screening.sources.materials_project.errors import MaterialsProjectError
from screening.sources.open_data import bulk, bulk_edos
from screening.sources.open_data.arrow_structures import crystal_columns
from screening.sources.open_data.bulk_edos import fetch_edos
from screening.sources.open_data.bulk_phdos import fetch_phdos
from screening.sources.open_data.delta import TOTAL_DOS, natural_order
from screening.sources.opening import open_source
from screening.sources.releases import current_release
from tests.screening.sources.materials_project.loopback import legacy_id, make_documents, stored_id
from tests.screening.sources.materials_project.open_s3 import EFERMI, OpenS3, dos_row, summary_table

N_DOCUMENTS = 40


@pytest.fixture(scope="module")
def running_s3():
    server = OpenS3()
    yield server
    server.stop()


@pytest.fixture
def s3(running_s3, monkeypatch):
    """An empty S3; readers find it by the environment and have no credentials."""
    running_s3.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", running_s3.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return running_s3


def own_documents(count):
    """Documents that share nothing with those of other tests, which are cached."""
    return copy.deepcopy(make_documents(count))


@pytest.fixture
def documents():
    """Forty materials, every third with an eDOS; two are deprecated, one is GNoME's, one has a shared site."""
    documents = own_documents(N_DOCUMENTS)
    for index in (4, 5):
        documents[index]["deprecated"] = True
    documents[7]["builder_meta"] = documents[7]["builder_meta"] | {"license": "BY-NC"}
    site = documents[8]["structure"]["sites"][0]
    site["species"] = [{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]
    return documents


@pytest.fixture
def settings(tmp_path):
    return SourceSettings(
        kind="materials-project-open", mp_cache_dir=tmp_path / "cache", mp_timeout_s=10, mp_patience_s=1
    )


def test_the_open_data_are_a_source_without_a_key(s3, documents, settings):
    s3.write_summary(documents)
    source = open_source(settings)
    properties = source.properties().set_index("material_id")
    left_out = {legacy_id(index) for index in (4, 5, 7)}
    assert set(properties.index) == {legacy_id(index) for index in range(N_DOCUMENTS)} - left_out
    assert source.db_version() == current_release(settings) == "2026.11.1"
    assert source.known_edos_ids() == {legacy_id(i) for i in range(0, N_DOCUMENTS, 3)} - left_out
    counts = source.earlier_filters()
    assert counts["removed"].tolist() == [0, 2, 1]
    assert counts["remaining"].tolist() == [40, 38, 37]
    assert properties.loc[legacy_id(10), "band_gap"] == documents[10]["band_gap"]


def test_crystals_are_those_of_the_documents_and_bad_ones_stay_rows(s3, documents, settings):
    s3.write_summary(documents)
    crystals = open_source(settings).crystals([legacy_id(10), legacy_id(8)])
    expected = documents[10]["structure"]
    assert np.allclose(crystals.lattices[0], expected["lattice"]["matrix"])
    sites = crystals.sites(0)
    assert np.allclose(crystals.frac_coords[sites], [site["abc"] for site in expected["sites"]])
    assert np.isnan(crystals.lattices[1]).all()
    assert crystals.n_sites[1] == documents[8]["nsites"]


def test_the_second_opening_reads_the_cache_and_a_new_release_is_read_anew(s3, documents, settings, monkeypatch):
    s3.write_summary(documents)
    first = open_source(settings)
    with monkeypatch.context() as patch:
        patch.setattr("screening.sources.open_data.source._download", lambda *_: pytest.fail("read again"))
        assert open_source(settings).fingerprint() == first.fingerprint()
    s3.write_summary(make_documents(N_DOCUMENTS + 5), release="2027.1.1")
    second = open_source(settings)
    assert second.db_version() == "2027.1.1"
    assert len(second.properties()) == N_DOCUMENTS + 5, "the materials of one release, not of both"


def test_has_props_counts_only_where_no_document_proves_an_edos(s3, settings):
    documents = own_documents(6)
    for document in documents:
        document["dos"] = None
    s3.write_summary(documents)
    assert open_source(settings).known_edos_ids() == {legacy_id(0), legacy_id(3)}


def test_without_open_data_there_is_a_sentence(s3, settings):
    with pytest.raises(MaterialsProjectError, match="no Delta table at s3a://materialsproject-build"):
        open_source(settings)
    with pytest.raises(MaterialsProjectError, match="relaxed cells only"):
        open_source(settings.model_copy(update={"mp_cells": "initial"}))


def test_an_unreachable_s3_is_a_sentence(settings, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(MaterialsProjectError, match="Check the network"):
        open_source(settings)


def test_releases_are_sorted_by_their_numbers():
    assert max(["2026.9.1", "2026.11.1", "2026.11.1-post1"], key=natural_order) == "2026.11.1-post1"
    assert max(["2026.9.1", "2026.11.1"], key=natural_order) == "2026.11.1"


def test_structures_that_are_not_ordered_crystals_are_null(documents):
    broken = own_documents(4)
    broken[0]["structure"] = None
    broken[1]["structure"]["sites"] = []
    broken[2]["structure"]["sites"][0]["species"] = [{"element": "Xx", "occu": 1.0}]
    structures = summary_table(broken + documents[8:10], "1")["structure"].combine_chunks()
    for column in crystal_columns(structures):
        assert column.is_valid().to_pylist() == [False, False, False, True, False, True]


def edos_of(rows, material_id):
    table = read_edos_store(rows)
    row = table["material_id"].to_pylist().index(material_id)
    return {name: table[name][row].as_py() for name in table.column_names}


def test_electronic_spectra_become_a_store_with_the_right_zero_and_both_spins(s3, documents, settings, tmp_path):
    s3.write_summary(documents)
    rows = [dos_row(stored_id(0)), dos_row(stored_id(3), gap=(-0.5, 1.0)), dos_row(stored_id(6), down=False)]
    s3.write_total_dos([*rows, dos_row(stored_id(9), run_type="GGA+U"), dos_row(stored_id(1))])
    store = tmp_path / "store.parquet"
    n_rows, left_out = fetch_edos(store, settings)
    assert (n_rows, left_out) == (4, {bulk.NO_MATERIAL: 1})

    metal = edos_of(store, legacy_id(0))
    assert metal["is_metal"]
    assert metal["energy_zero_ev"] == EFERMI
    assert np.allclose(metal["edos"], 4.0), "2 states/eV a spin"
    assert (metal["functional"], metal["spin"], metal["u_values"]) == ("PBE", "polarised", "{}")

    gapped = edos_of(store, legacy_id(3))
    assert gapped["energy_zero_ev"] == pytest.approx(EFERMI - 0.5, abs=0.02)
    assert gapped["band_gap"] == pytest.approx(1.5, abs=0.04)
    spectrum = np.array(gapped["edos"])
    assert np.allclose(spectrum[EDOS_GRID.centers < -0.1], 4.0)
    assert np.allclose(spectrum[(EDOS_GRID.centers > 0.1) & (EDOS_GRID.centers < 1.4)], 0.0)

    one_spin = edos_of(store, legacy_id(6))
    assert one_spin["spin"] == "unpolarised"
    assert np.allclose(one_spin["edos"], 2.0)
    with_u = edos_of(store, legacy_id(9))
    elements = {Element.from_Z(number).symbol for number in with_u["atomic_numbers"]}
    assert json.loads(with_u["u_values"]) == u_values_ev(elements)
    metadata = read_metadata(store)
    assert metadata["reference"] == "materials-project"
    assert metadata["db_version"] == "2026.11.1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"efermi": None}, "Energies, densities or the Fermi energy are missing."),
        ({"energies": np.linspace(20, -20, 2001)}, "The energies do not increase."),
        ({"energies": np.linspace(-20, 4, 2001)}, "The density of states ends below the top of the grid."),
        ({"spin_up_densities": np.full(2001, np.nan)}, "The samples contain non-finite numbers."),
        ({"spin_down_densities": np.ones(7)}, "The two spins have different numbers of samples."),
    ],
)
def test_a_damaged_spectrum_is_counted_with_its_reason(s3, documents, settings, tmp_path, changes, reason):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(0)), dos_row(stored_id(3)) | changes])
    assert fetch_edos(tmp_path / "store.parquet", settings) == (1, {reason: 1})


def test_reserved_formulas_are_left_out_and_the_store_trains(s3, documents, settings, tmp_path):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(index)) for index in range(0, N_DOCUMENTS, 3)])
    formula = documents[3]["formula_pretty"]
    n_reserved = sum(documents[index]["formula_pretty"] == formula for index in range(0, N_DOCUMENTS, 3))
    store = tmp_path / "store.parquet"
    n_rows, left_out = fetch_edos(store, settings, {formula})
    assert left_out == {bulk.RESERVED: n_reserved}
    labels = load_edos(None, GraphSettings(), [store])
    assert len(labels) == n_rows
    assert formula not in set(labels.formulas)
    n_sites = labels.graphs.n_atoms[0]
    assert np.allclose(labels.spectra[0], 4.0 / n_sites)


def test_an_interrupted_reading_resumes_with_the_next_file(s3, documents, settings, tmp_path, monkeypatch):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(0)), dos_row(stored_id(3))])
    s3.write_total_dos([dos_row(stored_id(6)), dos_row(stored_id(9))])
    store, seen = tmp_path / "store.parquet", []
    original = bulk_edos.EdosRows.of_batch

    def hang_up_at_the_second(self, batch, left_out):
        if len(seen) == 1:
            raise OSError("connection reset")
        seen.append(len(batch))
        return original(self, batch, left_out)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_edos.EdosRows, "of_batch", hang_up_at_the_second)
        with pytest.raises(OSError, match="connection reset"):
            fetch_edos(store, settings)
    assert not store.exists()
    asked = []
    monkeypatch.setattr(
        bulk_edos.EdosRows,
        "of_batch",
        lambda self, batch, left: asked.append(len(batch)) or original(self, batch, left),
    )
    assert fetch_edos(store, settings) == (4, {})
    assert asked == [2], "the first file is not read again"
    assert list(tmp_path.glob(".store*")) == []


def test_the_store_is_the_same_bytes_each_time(s3, documents, settings, tmp_path):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(index), run_type="GGA+U" if index % 2 else "GGA") for index in (0, 3, 6, 9)])
    for name in ("a", "b"):
        fetch_edos(tmp_path / f"{name}.parquet", settings)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_nothing_usable_is_an_error_that_says_why(s3, documents, settings, tmp_path):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row("mp-aaaazzzz")])
    with pytest.raises(MaterialsProjectError, match=f"1 {bulk.NO_MATERIAL}"):
        fetch_edos(tmp_path / "store.parquet", settings)
    assert list(tmp_path.glob("*.parquet")) == []


def test_a_file_of_the_table_that_is_gone_is_a_sentence(s3, documents, settings, tmp_path):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(0))])
    bucket, _, prefix = TOTAL_DOS.removeprefix("s3a://").partition("/")
    client = s3.client()
    for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        if item["Key"].endswith(".parquet"):
            client.delete_object(Bucket=bucket, Key=item["Key"])
    with pytest.raises(MaterialsProjectError, match="failed"):
        fetch_edos(tmp_path / "store.parquet", settings)


def test_phonon_spectra_become_a_table_to_train_on(s3, documents, settings, tmp_path):
    for index in range(4):
        documents[index]["phonon_IDs"] = {"dfpt": [stored_id(index)]}
    s3.write_summary(documents)
    frequencies = np.linspace(-2, 12, 701)
    real = np.where((frequencies > 1) & (frequencies < 9), 1.0, 0.0)
    dos = {"frequencies": frequencies, "densities": real}
    unstable = {"frequencies": frequencies, "densities": np.where(frequencies < 0, 1.0, real)}
    rows = [{"identifier": stored_id(index), "phonon_method": "dfpt", "dos": dos} for index in range(2)]
    rows.append({"identifier": stored_id(2), "phonon_method": "dfpt", "dos": unstable})
    rows.append({"identifier": stored_id(3), "phonon_method": "pheasy", "dos": dos})
    s3.write_phonon_dos(rows)
    target = tmp_path / "phdos_dfpt.parquet"
    n_rows, left_out = fetch_phdos(target, settings)
    assert (n_rows, left_out) == (2, {"1 % imaginary modes or more": 1, "another phonon method": 1})
    table = pq.read_table(target)
    spectrum = np.array(table["phdos_51"][0].as_py())
    n_sites = len(table["atomic_numbers"][0])
    assert PHDOS_GRID.integrate(spectrum) == pytest.approx(3 * n_sites, rel=1e-5)
    inside = (PHDOS_GRID.centers > 1 * 33.36 + 10) & (PHDOS_GRID.centers < 9 * 33.36 - 10)
    assert np.allclose(spectrum[inside], 3 * n_sites / (8 * 33.3564), rtol=0.01)
    assert np.allclose(spectrum[PHDOS_GRID.centers > 320], 0)
    assert len(_load_dfpt(tmp_path, GraphSettings())) == 2


def test_the_loopback_s3_asks_nobody_for_a_key(s3, documents):
    s3.write_summary(documents)
    with urllib.request.urlopen(f"{s3.endpoint}/materialsproject-build?list-type=2") as answer:
        assert b"_delta_log" in answer.read()


def test_arrow_types_of_the_tables_are_emmets(documents):
    schema = summary_table(documents, "1").schema
    assert pa.types.is_struct(schema.field("structure").type)
    assert pa.types.is_map(schema.field("has_props").type)


# The client's SQL engine blocks the interpreter while it reads, and with it a server in the same process.
READ_WITH_MP_API = """
import sys
import numpy as np
from mp_api.client.routes.materials.electronic_structure import DosRester

class OfflineRester(DosRester):
    @staticmethod
    def _get_heartbeat_info(endpoint):
        return "2026.11.1", []

with OfflineRester(api_key="k" * 32, timeout=10, mute_progress_bars=True) as client:
    for material_id, target in zip(sys.argv[1::2], sys.argv[2::2]):
        dos = client.get_dos_from_task_id(material_id)
        np.save(target, [dos.energies, sum(dos.densities.values())])
"""


def test_the_client_of_the_materials_project_finds_the_same_spectrum_in_the_same_table(
    s3, documents, settings, tmp_path
):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(0)), dos_row(stored_id(3), gap=(-0.5, 1.0))])
    fetch_edos(tmp_path / "store.parquet", settings)
    files = {legacy_id(index): str(tmp_path / f"{index}.npy") for index in (0, 3)}
    words = [word for pair in files.items() for word in pair]
    subprocess.run([sys.executable, "-W", "ignore", "-c", READ_WITH_MP_API, *words], check=True, timeout=120)
    for material_id, file in files.items():
        energies, total = np.load(file)
        row = edos_of(tmp_path / "store.parquet", material_id)
        expected = np.interp(EDOS_GRID.centers + row["energy_zero_ev"], energies, total)
        smooth = np.abs(np.gradient(expected)) < 1e-9
        assert smooth.sum() > 100
        assert np.allclose(np.array(row["edos"])[smooth], expected[smooth])


def test_a_spectrum_that_comes_twice_is_kept_once_also_from_another_file_and_after_a_break(
    s3, documents, settings, tmp_path, monkeypatch
):
    s3.write_summary(documents)
    s3.write_total_dos([dos_row(stored_id(0)), dos_row(stored_id(0)), dos_row(stored_id(0), run_type="GGA+U")])
    s3.write_total_dos([dos_row(stored_id(0)), dos_row(stored_id(3))])
    assert fetch_edos(tmp_path / "whole.parquet", settings) == (3, {bulk.REPEATED: 2})
    original, calls = bulk_edos.EdosRows.of_batch, []

    def hang_up_at_the_last(self, batch, left_out):
        calls.append(batch)
        if len(calls) == 3:
            raise OSError("connection reset")
        return original(self, batch, left_out)

    with monkeypatch.context() as patch:
        patch.setattr(bulk_edos.EdosRows, "of_batch", hang_up_at_the_last)
        with pytest.raises(OSError, match="connection reset"):
            fetch_edos(tmp_path / "broken.parquet", settings)
    assert fetch_edos(tmp_path / "broken.parquet", settings) == (3, {bulk.REPEATED: 2})
    assert (tmp_path / "broken.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_run_stays_with_its_release_and_asks_nobody_for_it(s3, documents, settings, monkeypatch):
    s3.write_summary(documents)
    first = open_source(settings)
    s3.write_summary(make_documents(N_DOCUMENTS), release="2027.1.1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert open_source(settings, db_version="2026.11.1").fingerprint() == first.fingerprint()
    with pytest.raises(MaterialsProjectError, match="Check the network"):
        open_source(settings, db_version="2027.1.1")
