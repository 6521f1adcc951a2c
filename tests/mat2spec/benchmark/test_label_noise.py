import pytest

from mat2spec.benchmark.data import BenchmarkError
from mat2spec.benchmark.label_noise import LabelNoise, read_label_noise, write_label_noise


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
