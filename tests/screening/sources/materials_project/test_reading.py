"""What is read from the real server code: filters, pages, identifiers, structures, and what is odd about documents."""

from __future__ import annotations

import copy
import logging
import resource

import numpy as np
import pyarrow.parquet as pq
import pytest

from mat2spec.crystals.checks import find_problems
from screening.choose.filters import filter_candidates
from screening.settings import CATALOGUE_PATH, FilterSettings
from screening.sources.materials_project.errors import ReconciliationError
from screening.sources.materials_project.source import open_materials_project
from tests.screening.sources.conftest import ALL, N_DOCUMENTS, PAGE_SIZE, quick_settings
from tests.screening.sources.materials_project.loopback import (
    CORE,
    GNOME_BATCH,
    GOOD_KEY,
    SUMMARY,
    LoopbackServer,
    legacy_id,
    make_documents,
    stored_id,
)

METALS = FilterSettings(energy_above_hull_max_ev_per_atom=0.02, n_elements_max=2, n_sites_max=6)


def changed(documents, *indices, **values):
    """Documents of which some have other values; the others stay the same objects."""
    documents = list(documents)
    for index in indices:
        documents[index] = {**documents[index], **values}
    return documents


def rows_of(source):
    frame = source.earlier_filters()
    return {row["filter"]: row for row in frame.to_dict("records")}


def test_all_documents_come_once_in_order_with_readable_identifiers(read):
    source = read()
    ids = source.properties().material_id.tolist()
    assert ids == [legacy_id(index) for index in range(N_DOCUMENTS)]
    assert source.db_version() == "2026.11.1"
    assert source.known_edos_ids() == {legacy_id(index) for index in range(0, N_DOCUMENTS, 3)}


def test_crystals_are_those_of_the_catalogue(read):
    rows = pq.read_table(CATALOGUE_PATH).slice(0, N_DOCUMENTS).to_pylist()
    crystals = read().crystals([legacy_id(7), legacy_id(1)])
    for position, index in enumerate((7, 1)):
        assert crystals.lattices[position].ravel() == pytest.approx(rows[index]["lattice"])
        sites = crystals.sites(position)
        assert crystals.frac_coords[sites].ravel() == pytest.approx(rows[index]["frac_coords"])
        assert crystals.atomic_numbers[sites].tolist() == rows[index]["atomic_numbers"]
    assert find_problems(crystals) == [None, None]


def test_the_server_filters_and_the_counts_say_so(server, read):
    source = read(METALS)
    query = server.asked(SUMMARY)[-1]
    assert all(word in query for word in ("nelements_max=2", "band_gap_max=0.05", "energy_above_hull_max=0.02"))
    assert "nsites_max=6" in query
    assert "deprecated=False" in query

    everything = read(ALL, mp_cache_dir=source.path.parent / "other")
    expected, _ = filter_candidates(everything.properties(), METALS, everything.known_edos_ids())
    candidates, counts = filter_candidates(source.properties(), METALS, source.known_edos_ids())
    assert candidates.material_id.tolist() == expected.material_id.tolist()
    assert len(candidates) > 5
    assert counts.removed.iloc[2:].sum() == 0

    earlier = source.earlier_filters()
    assert earlier.remaining.iloc[0] == N_DOCUMENTS
    assert earlier.remaining.iloc[-1] == len(source.properties())
    assert (earlier.remaining.iloc[:-1].to_numpy() - earlier.removed.iloc[1:].to_numpy()).tolist() == (
        earlier.remaining.iloc[1:].tolist()
    )


def test_only_needed_fields_are_asked_in_pages_sorted_by_identifier(server, read):
    read(METALS)
    pages = [query for query in server.asked(SUMMARY) if "_page=" in query]
    assert all("_sort_fields=material_id" in query and f"_per_page={PAGE_SIZE}" in query for query in pages)
    assert all("has_props" in query and "_all_fields" not in query for query in pages)


def test_a_value_at_the_limit_stored_with_32_bits_is_not_lost(server, read):
    server.summary.replace(changed(server.summary.documents, 4, energy_above_hull=float(np.float32(0.02))))
    assert (
        legacy_id(4) in read(FilterSettings(energy_above_hull_max_ev_per_atom=0.02)).properties().material_id.tolist()
    )


def test_the_second_time_only_the_version_is_asked_for(server, read):
    first = read()
    server.requests.clear()
    second = read()
    assert [path for _, path, _ in server.requests] == ["/heartbeat"]
    assert first.fingerprint() == second.fingerprint()


def test_another_question_is_another_table(read):
    assert read().path != read(METALS).path != read(METALS, mp_cells="initial").path


def test_page_size_and_order_of_arrival_do_not_change_the_table(read, tmp_path):
    tables = [
        pq.read_table(read(mp_cache_dir=tmp_path / str(size), mp_page_size=size).path) for size in (13, 130, 1000)
    ]
    assert tables[0].equals(tables[1])
    assert tables[1].equals(tables[2])


def test_materials_with_an_edos_carry_no_coordinates(read):
    table = pq.read_table(read().path)
    has_edos, lattice = table["has_edos"].to_pylist(), table["lattice"].to_pylist()
    assert all((row is None) == has for row, has in zip(lattice, has_edos, strict=True))


def test_the_limit_reads_no_more_pages_than_it_needs(server, read):
    source = read(limit=30)
    assert source.properties().material_id.tolist() == [legacy_id(index) for index in range(30)]
    assert sum("_page=" in query for query in server.asked(SUMMARY)) == 2
    assert rows_of(source)["limit of the source"]["removed"] == N_DOCUMENTS - 30


def test_no_match_is_an_empty_source_with_its_counts(read):
    source = read(FilterSettings(n_elements_min=50, n_elements_max=60))
    assert len(source.properties()) == 0
    assert source.known_edos_ids() == frozenset()
    assert rows_of(source)["number of elements, by the server"]["removed"] == N_DOCUMENTS


def test_initial_cells_are_larger(server, read):
    relaxed, initial = read(), read(mp_cells="initial")
    assert server.asked(CORE)
    assert initial.fingerprint() != relaxed.fingerprint()
    ids = [legacy_id(1), legacy_id(2)]
    assert initial.crystals(ids).lattices == pytest.approx(1.05 * relaxed.crystals(ids).lattices)


def test_a_material_without_initial_cell_stays_with_its_reason(server, read, caplog):
    core = server.core.documents
    server.core.replace([{**core[1], "initial_structures": []}, *core[3:]])
    with caplog.at_level(logging.WARNING):
        source = read(mp_cells="initial")
    assert len(source.properties()) == N_DOCUMENTS
    problems = find_problems(source.crystals([legacy_id(1), legacy_id(2), legacy_id(4)]))
    assert [problem is None for problem in problems] == [False, False, True]
    assert "2 of 130 materials have no usable structure" in caplog.text


def test_a_missing_or_disordered_structure_is_a_row_and_not_a_loss(server, read):
    documents = server.summary.documents
    disordered = copy.deepcopy(documents[2]["structure"])
    disordered["sites"][0]["species"] = [{"element": "Fe", "occu": 0.5}, {"element": "Co", "occu": 0.5}]
    half = copy.deepcopy(documents[4]["structure"])
    half["sites"][0]["species"][0]["occu"] = 0.5
    documents = changed(documents, 1, structure=None)
    documents = changed(documents, 2, structure=disordered)
    server.summary.replace(changed(documents, 4, structure=half))
    source = read()
    properties = source.properties().set_index("material_id")
    problems = find_problems(source.crystals([legacy_id(1), legacy_id(2), legacy_id(4), legacy_id(5)]))
    assert [problem is None for problem in problems] == [False, False, False, True]
    # The filters still know how many sites and elements it has, from its composition.
    assert properties.nsites[legacy_id(1)] == documents[1]["nsites"]
    assert properties.nelements[legacy_id(1)] == documents[1]["nelements"]


def test_deprecated_documents_are_left_out_and_counted(server, read):
    server.summary.replace(changed(server.summary.documents, 3, 5, deprecated=True))
    source = read()
    assert not {legacy_id(3), legacy_id(5)} & set(source.properties().material_id)
    assert rows_of(source)["not deprecated"]["removed"] == 2
    assert rows_of(source)["Materials Project"]["remaining"] == N_DOCUMENTS


def test_gnome_is_read_only_if_wanted_and_licensed(server, read):
    meta = {**server.summary.documents[0]["builder_meta"], "license": "BY-NC", "batch_id": GNOME_BATCH}
    server.summary.replace(changed(server.summary.documents, 1, 2, builder_meta=meta))
    gnome = {legacy_id(1), legacy_id(2)}
    assert not gnome & set(read().properties().material_id)
    assert not gnome & set(read(mp_include_gnome=True).properties().material_id)
    server.groups = "TERMS:ACCEPT-NC"
    accepted = read(mp_cache_dir=read().path.parent / "accepted")
    assert not gnome & set(accepted.properties().material_id)
    assert rows_of(accepted)["without GNoME"]["removed"] == 2
    source = read(mp_include_gnome=True, mp_cache_dir=accepted.path.parent / "with")
    assert gnome <= set(source.properties().material_id)
    licenses = pq.read_table(source.path, columns=["license"])["license"].to_pylist()
    assert licenses.count("BY-NC") == 2


def test_wrong_has_props_is_detected(server, read, caplog):
    documents = server.summary.documents
    claims = {**documents[1]["has_props"], "dos": True}
    denies = {**documents[1]["has_props"], "dos": False}
    documents = changed(documents, 1, has_props=claims)
    server.summary.replace(changed(documents, 3, has_props=denies))
    with caplog.at_level(logging.WARNING):
        source = read()
    # Claimed and not there: still a candidate. Denied and there: none.
    assert legacy_id(1) not in source.known_edos_ids()
    assert legacy_id(3) in source.known_edos_ids()
    assert "has_props is wrong about the eDOS of 2 of 130 materials" in caplog.text
    assert find_problems(source.crystals([legacy_id(1)])) == [None]


def test_claims_count_where_the_server_gives_no_proof_at_all(server, read):
    server.summary.replace([{**document, "dos": None} for document in server.summary.documents])
    assert read().known_edos_ids() == {legacy_id(index) for index in range(0, N_DOCUMENTS, 3)}


def test_documents_without_has_props_are_candidates(server, read):
    server.summary.replace(changed(server.summary.documents, 1, has_props=None, dos=None))
    assert legacy_id(1) not in read().known_edos_ids()


def unknown_values(server):
    documents = changed(server.summary.documents, 1, 4, 0, band_gap=None)
    documents = changed(documents, 8, energy_above_hull=None, band_gap=0.0)
    documents = changed(documents, 10, energy_above_hull=None, band_gap=None)
    return changed(documents, 11, energy_above_hull=None, band_gap=3.0)


def test_unknown_values_that_the_server_leaves_out_are_kept_if_the_filters_keep_them(server, read):
    everything = [index for index in range(N_DOCUMENTS) if index not in {1, 4, 0, 8, 10, 11}]
    server.summary.replace(unknown_values(server))
    source = read(FilterSettings(n_elements_max=None, energy_above_hull_max_ev_per_atom=0.05))
    ids = set(source.properties().material_id)
    assert {legacy_id(index) for index in (8, 10)} <= ids
    assert legacy_id(11) not in ids
    hulls = {index: server.summary.documents[index]["energy_above_hull"] for index in (0, 1, 4)}
    assert {legacy_id(index) for index, hull in hulls.items() if hull <= 0.05} == ids & set(map(legacy_id, hulls))
    rows = rows_of(source)
    assert rows["energy above hull, by the server"]["unknown_kept"] == 3
    assert rows["band gap, by the server"]["unknown_kept"] == sum(hull <= 0.05 for hull in hulls.values()) + 1
    assert rows["band gap, by the server"]["remaining"] == len(ids)
    expected, _ = filter_candidates(
        read(ALL, mp_cache_dir=source.path.parent / "all").properties(),
        FilterSettings(n_elements_max=None, energy_above_hull_max_ev_per_atom=0.05),
    )
    assert set(expected.material_id) == ids
    assert len(everything) == N_DOCUMENTS - 6


def test_unknown_values_are_counted_if_the_filters_drop_them(server, read):
    server.summary.replace(unknown_values(server))
    drop = FilterSettings(unknown_energy_above_hull="drop", unknown_band_gap="drop", n_elements_max=None)
    source = read(drop)
    rows = rows_of(source)
    assert rows["energy above hull, by the server"]["unknown_removed"] == 3
    assert rows["band gap, by the server"]["unknown_removed"] == 3
    assert not {legacy_id(index) for index in (0, 1, 4, 8, 10, 11)} & set(source.properties().material_id)


def test_a_document_twice_is_an_error_and_not_a_candidate_twice(server, read):
    documents = list(server.summary.documents)
    documents[30] = documents[31]
    server.summary.replace(documents)
    with pytest.raises(ReconciliationError, match="twice"):
        read()


def test_a_page_that_lacks_a_document_is_an_error_and_is_read_again_next_time(server, read):
    server.fail("drop", skip=6)
    with pytest.raises(ReconciliationError, match=r"has 24 documents instead of the 25 announced; none may be lost"):
        read(mp_parallel_requests=1)
    assert read().properties().material_id.tolist() == [legacy_id(index) for index in range(N_DOCUMENTS)]


def test_a_material_asked_for_by_name_that_does_not_come_is_an_error(server, read, tmp_path):
    server.summary.replace(changed(server.summary.documents, 1, 4, band_gap=None))
    filters = FilterSettings(n_elements_max=None, energy_above_hull_max_ev_per_atom=None)
    assert len(read(filters).properties()) > 2
    (by_name,) = [number for number, query in enumerate(server.asked(SUMMARY)) if "material_ids" in query]
    server.fail("drop", skip=by_name)
    with pytest.raises(ReconciliationError, match=r"Of 2 materials requested by id, 1 are missing"):
        read(filters, mp_cache_dir=tmp_path / "other", mp_parallel_requests=1)


def test_a_count_that_moves_while_the_version_stays_is_an_error(server, read):
    """The server takes a document away between counting and reading."""
    shorter = server.summary.documents[:-1]
    server.fail("do", skip=8, action=lambda: server.summary.replace(shorter))
    with pytest.raises(ReconciliationError, match="none may be lost"):
        read()
    assert len(read().properties()) == N_DOCUMENTS - 1


def test_twenty_thousand_documents_in_pages_of_a_thousand(tmp_path):
    server = LoopbackServer(make_documents(20_000), core=[]).start()
    try:
        progress = []
        settings = quick_settings(server, tmp_path, mp_page_size=1000, mp_timeout_s=120)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        source = open_materials_project(settings, ALL, GOOD_KEY, lambda done, total: progress.append((done, total)))
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finally:
        server.stop()
    assert source.properties().material_id.tolist() == [legacy_id(index) for index in range(20_000)]
    assert len(source.known_edos_ids()) == -(-20_000 // 3)
    assert progress == [(1000 * page, 20_000) for page in range(1, 21)]
    # Client and server together, in one process.
    assert grown_mib < 1000


def test_stored_identifiers_are_padded_letters():
    assert stored_id(0) == "mp-aaaaaaan"
    assert legacy_id(0) == "mp-13"
