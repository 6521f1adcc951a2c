"""Documents: round trips and refusals."""

import json

import numpy as np
import pytest
from pymatgen.electronic_structure.core import Spin
from pymatgen.electronic_structure.dos import Dos

from dft_validation.results.document import EdosDocument, edos_of_dos
from dft_validation.results.tables import results_table
from mat2spec.spectra.grids import EDOS_GRID
from screening.settings import GapSettings

PROVENANCE = {
    "material_id": "mp-1",
    "formula": "SrVO3",
    "n_sites": 5,
    "covered_to_ev": 6.0,
    "n_electrons": 41.0,
    "engine": "gpaw",
    "engine_version": "1",
    "functional": "PBE",
    "spin": "unpolarised",
    "u_values": {"V": 3.25},
    "kpoints": (4, 4, 4),
    "n_irreducible_kpoints": 10,
    "n_bands": 30,
    "cpu_seconds": 10.0,
    "wall_seconds": 11.0,
    "peak_memory_mib": 200.0,
    "settings_hash": "abc",
    "computed_n_sites": 5,
    "computed_volume_a3": 57.0,
}


@pytest.fixture
def document(rng):
    return EdosDocument(
        edos=rng.random(128), efermi=7.3, energy_zero_ev=7.1, band_gap=0.4, is_metal=False, **PROVENANCE
    )


def test_json_round_trip_keeps_every_field(document):
    again = EdosDocument.from_dict(json.loads(json.dumps(document.as_dict())))
    assert again.as_dict() == document.as_dict()
    np.testing.assert_array_equal(again.edos, document.edos)


def test_pymatgen_round_trip_keeps_the_spectrum(document):
    dos = document.to_dos()
    assert dos.efermi == 7.3
    assert dos.energies[0] == pytest.approx(3.1)
    again = EdosDocument.from_dos(dos, energy_zero_ev=7.1, band_gap=0.4, **PROVENANCE)
    np.testing.assert_allclose(again.edos, document.edos, atol=1e-9)
    assert not again.is_metal


def test_a_foreign_dos_keeps_its_states_and_both_spins(rng):
    energies = np.linspace(-12, 12, 3001)
    up, down = np.exp(-((energies - 1) ** 2)), np.exp(-((energies - 2) ** 2) * 3)
    edos = edos_of_dos(Dos(1.0, energies, {Spin.up: up, Spin.down: down}), energy_zero_ev=1.0)
    expected = np.sqrt(np.pi) + np.sqrt(np.pi / 3)
    assert EDOS_GRID.integrate(edos) == pytest.approx(expected, rel=1e-4)
    assert EDOS_GRID.centers[edos.argmax()] == pytest.approx(0.6, abs=0.4)


def test_a_metal_is_zeroed_at_the_fermi_energy():
    energies = np.linspace(-10, 14, 2401)
    document = EdosDocument.from_dos(Dos(2.0, energies, {Spin.up: np.where(energies < 2.0, 1.0, 0.5)}), **PROVENANCE)
    assert document.is_metal
    assert document.energy_zero_ev == 2.0
    np.testing.assert_allclose(document.edos[[10, 120]], [1.0, 0.5])


def test_a_dos_that_ends_too_early_is_refused():
    energies = np.linspace(-10, 3, 500)
    with pytest.raises(ValueError, match="ends at 3"):
        edos_of_dos(Dos(0.0, energies, {Spin.up: np.ones(500)}), 0.0)
    with pytest.raises(ValueError, match="must increase"):
        edos_of_dos(Dos(0.0, energies[::-1], {Spin.up: np.ones(500)}), 0.0)


@pytest.mark.parametrize("spoil", [lambda e: e[:100], lambda e: e * -1, lambda e: e * np.nan])
def test_spectra_that_cannot_be_are_refused(document, spoil):
    values = document.as_dict()
    with pytest.raises(ValueError, match=r"bins|negative"):
        EdosDocument.from_dict({**values, "edos": spoil(document.edos)})


def test_spin_channels_travel_with_the_document_and_in_its_dos(document, rng):
    channels = rng.random((2, 128))
    values = {**document.as_dict(), "edos": channels.sum(axis=0), "edos_by_spin": channels, "magnetization": 1.5}
    again = EdosDocument.from_dict(json.loads(json.dumps(EdosDocument.from_dict(values).as_dict())))
    assert again.magnetization == 1.5
    np.testing.assert_allclose(again.dos.densities[Spin.down], channels[1])
    np.testing.assert_allclose(again.dos.get_densities(), again.edos)
    with pytest.raises(ValueError, match="two rows"):
        EdosDocument.from_dict({**values, "edos_by_spin": channels[:1]})


def test_documents_kept_before_spin_was_known_are_still_read(document):
    values = {key: value for key, value in document.as_dict().items() if key not in {"edos_by_spin", "magnetization"}}
    again = EdosDocument.from_dict(values)
    assert again.edos_by_spin is None
    assert set(again.dos.densities) == {Spin.up}


def test_bins_beyond_the_last_band_are_masked(document):
    assert document.is_covered.all()
    partly = EdosDocument.from_dict({**document.as_dict(), "covered_to_ev": 3.0})
    assert EDOS_GRID.centers[partly.is_covered].max() < 2.97 < EDOS_GRID.centers[~partly.is_covered].min()
    assert np.isnan(partly.covered_edos).tolist() == (~partly.is_covered).tolist()


def test_bins_without_all_bands_reach_no_class_and_no_table(document):
    values = document.as_dict()
    whole, partly, short = (
        EdosDocument.from_dict({**values, "covered_to_ev": limit, "material_id": name})
        for name, limit in (("whole", 9.0), ("partly", 3.0), ("short", 0.1))
    )
    table = results_table([whole, partly, short], GapSettings())
    assert [np.isnan(spectrum).any() for spectrum in table["edos"]] == [False, True, True]
    known = table["is_gapped_metal"].notna().tolist()
    assert known == [True, True, False], "the rule does not depend on bins above the window of metals"


def test_no_gap_is_read_from_bins_without_all_bands(document):
    metal = np.where(np.abs(EDOS_GRID.centers - 0.2) < 0.6, 3.0, 0.0)  # filled from -0.4 to 0.8 eV, nothing above
    values = {**document.as_dict(), "edos": metal, "edos_by_spin": None, "is_metal": True, "band_gap": 0.0}
    whole, partly = (EdosDocument.from_dict({**values, "covered_to_ev": limit}) for limit in (9.0, 1.2))
    table = results_table([whole, partly], GapSettings())
    assert table["is_metal"].tolist() == [True, True]
    assert table["has_gap_above"].tolist() == [True, False]
    assert table["gapped_metal_type"].tolist() == ["n+p", "n"]
    assert table["partly_filled_band_ev"].notna().all()
