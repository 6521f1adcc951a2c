"""The contenders of the benchmark, and how each is trained.

A recipe is what differs from `mat2spec.training.settings.TrainingSettings`. The optimiser of all is that
of the Mat2Spec paper (AdamW, 1e-3, weight decay 1e-2, rate halved every quarter of 200 epochs) but
for what its own paper says; a batch has 64 spectra.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mat2spec.descriptors.kinds import Descriptors
from mat2spec.models import MODELS
from mat2spec.models.mat2spec import VARIANTS


class Recipe(BaseModel):
    """A contender of the benchmark."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Name of the model in the registry.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Training settings that differ from the default."
    )
    pretraining: bool = Field(default=False, description="Train on the finite-displacement set too.")


def _variants(batch_size: int) -> dict[str, Recipe]:
    """The variants of Mat2Spec as published but for what they vary."""
    return {
        f"mat2spec-{name}": Recipe(model="mat2spec", training={"batch_size": batch_size, "model_settings": settings})
        for name, settings in VARIANTS.items()
    }


_PHONONS: dict[str, Recipe] = {
    "e3nn": Recipe(
        model="e3nn", training={"epochs": 60, "learning_rate": 5e-3, "weight_decay": 5e-2, "schedule": "cosine"}
    ),
    "gatgnn": Recipe(model="gatgnn"),
    "mat2spec": Recipe(model="mat2spec"),
    "sitedos": Recipe(
        model="sitedos",
        training={
            "epochs": 60,
            "schedule": "cosine",
            "model_settings": {
                "site_shares": "equal",
                "descriptors": str(Descriptors.THREE_POTENTIALS),
                "sees_crystal": True,
                "dropout": 0.3,
            },
        },
        pretraining=True,
    ),
    "sitedos-chgnet": Recipe(
        model="sitedos",
        training={"epochs": 40, "schedule": "cosine", "model_settings": {"site_shares": "equal"}},
        pretraining=True,
    ),
    "sitedos-dfpt": Recipe(
        model="sitedos", training={"epochs": 60, "schedule": "cosine", "model_settings": {"site_shares": "equal"}}
    ),
    "mat2spec-no-alignment": Recipe(model="mat2spec", training={"model_settings": {"alignment_weight": 0.0}}),
    "mat2spec-no-contrastive": Recipe(model="mat2spec", training={"model_settings": {"contrastive_weight": 0.0}}),
    # The label branch as an autoencoder of spectra, to which the features are aligned.
    "mat2spec-rebuilding": Recipe(
        model="mat2spec",
        training={
            "model_settings": {
                "alignment": "mixture",
                "alignment_weight": 0.1,
                "label_sees_crystal": True,
                "label_prediction_weight": 10.0,
                "weights_follow_label": True,
                "dropout": 0.2,
            }
        },
    ),
} | _variants(batch_size=8)
_ELECTRONS: dict[str, Recipe] = {
    name: _PHONONS[name]
    for name in (
        "e3nn",
        "gatgnn",
        "mat2spec",
        "mat2spec-no-alignment",
        "mat2spec-no-contrastive",
        "mat2spec-rebuilding",
    )
} | {"sitedos": Recipe(model="sitedos", training={"epochs": 100, "schedule": "cosine"}), **_variants(batch_size=256)}
RECIPES = {"phdos": _PHONONS, "edos": _ELECTRONS}


def find_recipes(names: list[str], spectrum: str) -> dict[str, Recipe]:
    """Recipes by name; a registered model without a recipe is trained with the defaults.

    Raises
    ------
    ValueError
        If there is neither a recipe nor a model of a name.
    """
    recipes = RECIPES[spectrum]
    unknown = [name for name in names if name not in recipes and name not in MODELS]
    if unknown:
        known = ", ".join(sorted({*recipes, *MODELS}))
        raise ValueError(f"Unknown recipe or model '{unknown[0]}'; choose from {known}.")
    return {name: recipes.get(name, Recipe(model=name)) for name in names}
