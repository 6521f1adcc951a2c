"""Predictions that others published, in the forms in which they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mat2spec
from mat2spec.crystals.arrays import Crystals
from mat2spec.external import ExternalPredictions, ExternalPredictionsError
from mat2spec.spectra.grids import EDOS_GRID, GRID_METADATA_KEY
from mat2spec.spectra.prediction import predictions_table

IDS = ["mp-1", "mp-2", "mp-3"]
SPECTRA = np.random.default_rng(3).uniform(0.1, 5, (3, EDOS_GRID.size)).astype(np.float32)


def crystals(*ids, n_sites=2):
    return Crystals.from_lists(
        list(ids), [[11] * n_sites] * len(ids), [np.zeros((n_sites, 3))] * len(ids), [np.eye(3) * 4] * len(ids)
    )


def write_npz(path, **changes):
    np.savez(path, **({"ids": np.array(IDS), "energies": EDOS_GRID.centers, "spectra": SPECTRA} | changes))
    return path


def write_parquet(path):
    table = pa.table(
        {"material_id": IDS, "energies": [EDOS_GRID.centers.tolist()] * 3, "dos": [row.tolist() for row in SPECTRA]}
    )
    pq.write_table(table, path)
    return path


def write_csv(path):
    frame = pd.DataFrame(SPECTRA, columns=[f"{energy:.6f}" for energy in EDOS_GRID.centers])
    frame.insert(0, "mp_id", IDS)
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["published.npz", "published.parquet", "published.csv"])
def test_every_form_gives_the_same_spectra_by_identifier(tmp_path, name):
    write = {"npz": write_npz, "parquet": write_parquet, "csv": write_csv}[name.rpartition(".")[2]]
    model = mat2spec.load_predictor(str(write(tmp_path / name)))
    prediction = model.predict(crystals("mp-3", "other", "mp-1"))
    assert prediction.status == ["ok", "failed", "ok"]
    assert prediction.spectra[[0, 2]] == pytest.approx(SPECTRA[[2, 0]], rel=1e-5)
    assert prediction.reason == ["", f"{name} has no spectrum of this material.", ""]
    assert prediction.model == name
    assert len(prediction.weights_hash) == 64


def test_our_own_tables_are_read_with_their_grid(tmp_path):
    rows = predictions_table(ExternalPredictions(write_npz(tmp_path / "a.npz")).predict(crystals(*IDS)))
    assert (
        rows["uncertainty"].null_count == rows["relative_error"].null_count == rows["domain_distance"].null_count == 3
    )
    pq.write_table(rows.replace_schema_metadata({GRID_METADATA_KEY: EDOS_GRID.to_json()}), tmp_path / "b.parquet")
    again = ExternalPredictions(tmp_path / "b.parquet").predict(crystals(*IDS))
    assert (again.spectra == SPECTRA).all()


def test_another_grid_is_averaged_over_the_bins_and_keeps_its_states(tmp_path):
    fine = np.linspace(-6, 6, 2401)
    density = np.exp(-((fine - 0.5) ** 2))
    path = write_npz(tmp_path / "fine.npz", energies=fine, spectra=np.tile(density, (3, 1)))
    prediction = ExternalPredictions(path).predict(crystals("mp-1"))
    assert prediction.scale[0] == pytest.approx(np.sqrt(np.pi), rel=1e-3)
    assert prediction.spectra[0] == pytest.approx(np.exp(-((EDOS_GRID.centers - 0.5) ** 2)), abs=2e-3)


def test_densities_per_atom_are_scaled_to_the_cell_and_uncertainties_are_kept(tmp_path):
    path = write_npz(tmp_path / "a.npz", per=np.array("atom"), uncertainty=SPECTRA / 10)
    prediction = ExternalPredictions(path).predict(crystals("mp-2", n_sites=4))
    assert prediction.spectra[0] == pytest.approx(4 * SPECTRA[1])
    assert prediction.uncertainty[0] == pytest.approx(0.4 * SPECTRA[1])


def test_a_spectrum_that_is_empty_or_not_finite_is_a_failed_row(tmp_path):
    spectra = SPECTRA.copy()
    spectra[0], spectra[1, 5], spectra[2, 7] = 0, np.nan, -0.3
    prediction = ExternalPredictions(write_npz(tmp_path / "a.npz", spectra=spectra)).predict(crystals(*IDS))
    assert prediction.status == ["failed", "failed", "ok"]
    assert prediction.spectra[2].min() == 0, "a density of states is not negative"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ids": np.array(["mp-1", "mp-1", "mp-2"])}, "the first is mp-1"),
        ({"energies": np.linspace(-2, 2, EDOS_GRID.size)}, "spectra from -4 to 4 eV"),
        ({"energies": EDOS_GRID.centers[::-1]}, "do not increase"),
        ({"spectra": SPECTRA[:2]}, "must have the shape"),
        ({"ids": np.array(IDS, dtype=object)}, "as text"),
        ({"per": np.array("mole")}, "cell or atom"),
    ],
)
def test_ambiguous_predictions_are_refused_in_a_sentence(tmp_path, changes, sentence):
    with pytest.raises(ExternalPredictionsError, match=sentence):
        ExternalPredictions(write_npz(tmp_path / "a.npz", **changes))


def test_a_file_without_energies_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.array(IDS), spectra=SPECTRA)
    with pytest.raises(ExternalPredictionsError, match="holds no energies"):
        ExternalPredictions(tmp_path / "a.npz")


@pytest.mark.parametrize("text", ["n/a!", "1,5", "1e", "--", "0x1F", "3 eV", "True"])
def test_text_among_the_numbers_of_a_csv_file_is_named_with_its_place(tmp_path, text):
    path = write_csv(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    lines[2] = ",".join([*cells[:5], f'"{text}"', *cells[6:]])
    path.write_text("\n".join(lines))
    energy = f"{EDOS_GRID.centers[4]:.6f}"
    with pytest.raises(ExternalPredictionsError, match=f"first is '{text}', of mp-2 at {energy} eV"):
        ExternalPredictions(path)


def test_empty_cells_of_a_csv_file_leave_one_material_without_a_spectrum(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    lines[2] = "mp-2" + "," * EDOS_GRID.size
    path.write_text("\n".join(lines))
    prediction = ExternalPredictions(path).predict(crystals("mp-1", "mp-2"))
    assert prediction.status == ["ok", "failed"]


def test_a_csv_file_without_rows_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "a.csv").write_text("id,energies,dos\n")
    with pytest.raises(ExternalPredictionsError, match="0 identifiers"):
        ExternalPredictions(tmp_path / "a.csv")
