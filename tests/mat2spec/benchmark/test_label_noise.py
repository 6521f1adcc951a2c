import numpy as np
import pytest

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.detection import GappedMetals
from mat2spec.benchmark.label_noise import ExactLabels, LabelNoise, compare_labels, read_label_noise, write_label_noise
from mat2spec.spectra.grids import EDOS_GRID


def noise(what="k-points", r2=0.9):
    return LabelNoise(what=what, how="benchmarks/label_density.py", n=30, metrics={"r2_blind": r2})


def test_entries_are_kept_and_replaced_by_what_differs(tmp_path):
    assert read_label_noise(tmp_path) == []
    write_label_noise(tmp_path, [noise(), noise("energy zero", 0.8)])
    write_label_noise(tmp_path, [noise(r2=0.95)])
    assert read_label_noise(tmp_path) == [noise("energy zero", 0.8), noise(r2=0.95)]


def test_a_damaged_file_is_a_sentence(tmp_path):
    write_label_noise(tmp_path, [noise()]).write_text('[{"what": "k-points"}]')
    with pytest.raises(BenchmarkError, match=r"label_noise.json cannot be read \(3 errors, first: Field required\)"):
        read_label_noise(tmp_path)


def test_labels_are_compared_by_the_figures_of_the_benchmark():
    spectra = np.exp(-((EDOS_GRID.centers - np.linspace(-3, 3, 8)[:, None]) ** 2))
    exact = ExactLabels(spectra.astype(np.float32), np.full(8, 2))

    def find(cells, n_sites):
        return GappedMetals(cells[:, 64] > 1, np.clip(cells[:, 64] / 2, 0, 1))

    same = compare_labels("nothing", "a test", spectra, exact, find)
    assert same.n == 8
    assert same.metrics["r2_blind"] == pytest.approx(1)
    assert same.metrics["gap_f1"] == same.metrics["gap_average_precision"] == pytest.approx(1)
    larger = compare_labels("scale", "a test", 1.5 * spectra, exact, find)
    assert larger.metrics["mae_blind"] == pytest.approx(0.5 * 2 * spectra.mean(), rel=1e-5)
    assert larger.metrics["mae_oracle"] == pytest.approx(0, abs=1e-6)
    assert all(np.isfinite(value) for value in larger.metrics.values())
