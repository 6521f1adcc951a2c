"""Shipped weights predict what they predicted when they were stored, whatever becomes of the code around them.

The numbers of `shipped_predictions.json` were computed with the code before graphs became data of PyTorch Geometric.
Weights that are trained anew have another hash and need new numbers: `python -m tests.mat2spec.models.test_shipped`
writes them.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from mat2spec.crystals.arrays import Crystals
from mat2spec.prediction import load_predictor, shipped_weights
from tests.mat2spec.conftest import low_symmetry, perovskite, rock_salt

STORED = Path(__file__).with_name("shipped_predictions.json")
CRYSTALS = {"NaCl": rock_salt(), "SrVO3": perovskite(), "LaFeOS": low_symmetry()}
EVERY = 8


def predict(model, spectrum):
    """Hash of the weights; scale, and every eighth bin of the spectrum, of each crystal."""
    crystals = Crystals.from_structures(list(CRYSTALS.values()), list(CRYSTALS))
    prediction = load_predictor(model, spectrum, device="cpu").predict(crystals)
    rows = zip(prediction.material_ids, prediction.scale, prediction.spectra, strict=True)
    return {
        "weights": prediction.weights_hash,
        **{name: [float(f"{value:.7g}") for value in (scale, *bins[::EVERY])] for name, scale, bins in rows},
    }


@pytest.mark.parametrize("spectrum", ["edos", "phdos"])
@pytest.mark.parametrize("model", shipped_weights("edos"))
def test_shipped_weights_predict_what_they_did(model, spectrum):
    stored, found = json.loads(STORED.read_text())[f"{model} {spectrum}"], predict(model, spectrum)
    assert found.pop("weights") == stored.pop("weights"), "trained anew: write the numbers anew, see above"
    for name, values in stored.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5 * max(values), err_msg=name)


if __name__ == "__main__":
    kinds = [(model, spectrum) for model in shipped_weights("edos") for spectrum in ("edos", "phdos")]
    lines = [f'"{model} {spectrum}": {json.dumps(predict(model, spectrum))}' for model, spectrum in kinds]
    STORED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
