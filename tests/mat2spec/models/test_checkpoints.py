import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mat2spec.graphs.settings import GraphSettings
from mat2spec.models import build_model
from mat2spec.models.checkpoints import (
    WeightsCard,
    WeightsError,
    load_weights,
    read_card,
    round_to_half,
    save_weights,
    tensors_hash,
)
from mat2spec.settings import SHIPPED_WEIGHTS_DIR
from mat2spec.spectra.grids import EDOS_GRID
from mat2spec.spectra.normalisation import Setting
from mat2spec.tight_binding.predictor import MODEL_NAMES as TIGHT_BINDING_MODELS
from mat2spec.tight_binding.predictor import load_tight_binding
from tests.mat2spec.conftest import SMALL_SIZES


def card_of(built, **changes):
    fields = {
        "model": "gatgnn",
        "setting": Setting.SUMNORM_KL,
        "model_settings": built.settings.model_dump(mode="json"),
        "graph_settings": GraphSettings(),
        "grid": EDOS_GRID.to_json(),
        "training": {"materials": {"train": 3}},
        "metrics": {"test": {"mae": 0.25}},
    }
    return WeightsCard(**(fields | changes))


@pytest.fixture
def model():
    return build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, Setting.SUMNORM_KL)


@pytest.fixture
def path(tmp_path, model):
    path = tmp_path / "gatgnn-edos-sumnorm-kl.safetensors"
    save_weights(path, model, card_of(model))
    return path


def rewrite(path, change_tensors=None, change_metadata=None):
    with safe_open(path, "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        metadata = opened.metadata()
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata=change_metadata(metadata) if change_metadata else metadata)


def test_weights_survive_a_round_trip(path, model):
    loaded, card = load_weights(path)
    assert tensors_hash(loaded.state_dict()) == tensors_hash(model.state_dict())
    assert card == read_card(path) == card_of(model)
    assert not loaded.training
    text = path.with_suffix(".md").read_text()
    assert "| test | 0.25 |" in text
    assert "128 bins from -4 to 4 eV" in text


def test_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"There are no weights .*none\.safetensors\. Train them"):
        load_weights(tmp_path / "none.safetensors")


def test_truncated_weights(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="are damaged"):
        load_weights(path)


def test_foreign_safetensors(path):
    rewrite(path, change_metadata=lambda metadata: {})
    with pytest.raises(WeightsError, match="has no model description"):
        load_weights(path)


def test_tensors_that_do_not_fit(path):
    rewrite(path, change_tensors=lambda tensors: tensors.update({"head.0.weight": torch.zeros(3, 3)}))
    with pytest.raises(WeightsError, match="do not fit the model 'gatgnn'"):
        load_weights(path)


def test_weights_with_nan(path):
    rewrite(path, change_tensors=lambda tensors: tensors["head.0.bias"].fill_(float("nan")))
    with pytest.raises(WeightsError, match=r"non-finite numbers \(in head.0.bias\)"):
        load_weights(path)


def test_unknown_model_and_version(tmp_path, model):
    save_weights(tmp_path / "a.safetensors", model, card_of(model, model="megnet"))
    with pytest.raises(WeightsError, match="'megnet', which is not registered"):
        load_weights(tmp_path / "a.safetensors")
    save_weights(tmp_path / "b.safetensors", model, card_of(model, format_version=99))
    with pytest.raises(WeightsError, match="format version 99"):
        load_weights(tmp_path / "b.safetensors")


def test_shipped_weights_are_small_and_all_load():
    files = sorted(SHIPPED_WEIGHTS_DIR.glob("*.safetensors"))
    assert files
    assert sum(file.stat().st_size for file in files) < 80e6
    for file in files:
        assert file.stat().st_size < 20e6
        card = read_card(file)
        if card.model in TIGHT_BINDING_MODELS:
            load_tight_binding(file)
        else:
            load_weights(file)
        assert file.name.startswith(f"{card.model}-{card.spectral_grid.name}-{card.setting}")
        assert card.metrics["test"]["n"] > 0
        assert file.with_suffix(".md").is_file()


def test_a_model_rounded_to_halves_is_stored_in_half_the_space_without_loss(tmp_path):
    model = build_model("gatgnn", SMALL_SIZES["gatgnn"], 128, Setting.SUMNORM_KL)
    card = card_of(model)
    save_weights(tmp_path / "whole.safetensors", model, card)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    round_to_half(model)
    save_weights(tmp_path / "half.safetensors", model, card, half=True)
    loaded, _ = load_weights(tmp_path / "half.safetensors")
    for name, parameter in loaded.named_parameters():
        assert parameter.dtype is torch.float32
        torch.testing.assert_close(parameter, dict(model.named_parameters())[name], rtol=0, atol=0)
        torch.testing.assert_close(parameter, before[name], rtol=1e-3, atol=1e-6)
    half, whole = ((tmp_path / name).stat().st_size for name in ("half.safetensors", "whole.safetensors"))
    in_matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    assert whole - half == pytest.approx(2 * in_matrices, rel=0.02)
