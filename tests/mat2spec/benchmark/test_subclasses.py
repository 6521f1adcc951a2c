from mat2spec.benchmark import subclasses
from mat2spec.benchmark.subclasses import GLOBAL, ONLY, TUNED, compare_trainings, summarise_trainings
from mat2spec.models.checkpoints import read_card
from mat2spec.training.settings import TrainingSettings
from mat2spec.training.subclass import Subclass
from tests.mat2spec.conftest import SMALL_SIZES


def test_each_way_of_training_is_judged_on_its_class(data, tmp_path, monkeypatch):
    monkeypatch.setattr(subclasses, "CLASSES", {"oxides and more": Subclass(space_group=225)})
    settings = TrainingSettings(
        model="gatgnn", model_settings=SMALL_SIZES["gatgnn"], epochs=1, batch_size=8, accelerator="cpu"
    )
    said = []
    table = compare_trainings(data, settings, [0], tmp_path, said.append)
    assert set(table["contender"]) == {GLOBAL, TUNED, ONLY}
    assert set(table["subclass"]) == {"oxides and more"}
    assert len(said) == 2
    (tuned,) = (tmp_path / "tuned-oxides-and-more-seed0").glob("*.safetensors")
    assert read_card(tuned).training["fine_tuned_from"] == "gatgnn-phdos-sumnorm-kl.safetensors"
    summary = summarise_trainings(table, "test")
    assert summary["label"].tolist() == sorted([GLOBAL, TUNED, ONLY], key=summary["label"].tolist().index)
    assert (summary["n"] == 7).all()
