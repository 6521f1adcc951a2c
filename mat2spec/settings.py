"""Settings of predictions and default paths; importable without torch."""

from __future__ import annotations

import os
import tempfile
from enum import StrEnum
from pathlib import Path

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field

# Catalogue and labels: in a clone a link to its folder `data`, in an installed package a folder of it.
_CARRIED = Path(__file__).parent / "data"
IS_CLONE = _CARRIED.is_symlink()
DATA_DIR = _CARRIED.resolve()
SHIPPED_STORE = DATA_DIR / "edos_store.parquet"
SHIPPED_WEIGHTS_DIR = Path(__file__).resolve().parent / "weights"
# Labels of Materials Project crystals, by id: a folder of shards.
SHIPPED_SHARDS = DATA_DIR / "edos_store"
# Tight binding, without and with spin.
TIGHT_BINDING_MODELS = ("tight-binding", "tight-binding-mp")
# Models of spectra as the Materials Project computes them: with spin where a crystal can be magnetic, and U.
MODELS_WITH_SPIN = (TIGHT_BINDING_MODELS[1], "student")
# Models that predict where none is named, the most accurate first: it leads.
EDOS_MODELS = (TIGHT_BINDING_MODELS[0], "sitedos", "mat2spec")
PHDOS_MODELS = ("sitedos",)
# The mean of the best of them and of the phonons of a potential: better still, and seconds a crystal.
FORCE_CONSTANTS_MODEL = "force-constants"
# Crystals whose spectra are projected: each is solved once more, some tenths of a second.
MOST_PROJECTED = 12
# A model may also be a file of predictions that others published, see `mat2spec.external`.
EXTERNAL_ENDINGS = (".npz", ".parquet", ".csv")
# Up to this band gap in eV a material counts as a metal: in filters, labels, DFT and published spectra.
LARGEST_METAL_GAP_EV = 0.05
# Larger batches are slower on a CPU: their messages no longer fit in its caches.
DEFAULT_MAX_EDGES = 3000


def is_external(model: str) -> bool:
    """Whether a model of the settings is a file of predictions."""
    return model.lower().endswith(EXTERNAL_ENDINGS)


def model_name(model: str) -> str:
    """How tables name a model of the settings: a file of predictions by its own name, wherever it lies."""
    return Path(model).name if is_external(model) else model


def cache_dir(name: str) -> Path:
    """A folder of the user's cache, such as `~/.cache/mat2spec-screening/<name>`, for data that can be recomputed."""
    folder = user_cache_path("mat2spec-screening", appauthor=False)
    if not folder.is_absolute():
        # A user without HOME and without a passwd entry, as in a container: "~" cannot be expanded.
        folder = Path(tempfile.gettempdir()) / f"mat2spec-screening-{os.getuid()}"
    return folder / name


class Setting(StrEnum):
    """Normalisation of the spectrum and loss of the prediction."""

    STANDARD_MAE = "standard-mae"
    MAXNORM_MSE = "maxnorm-mse"
    SUMNORM_WD = "sumnorm-wd"
    SUMNORM_KL = "sumnorm-kl"

    @property
    def predicts_shape(self) -> bool:
        """Whether the sum of bins is lost by the normalisation."""
        return self is not Setting.STANDARD_MAE


class Level(StrEnum):
    """Level of theory of labels, see `mat2spec.labels.levels`."""

    MP = "mp"
    UNPOLARISED = "unpolarised"


def shipped_stores() -> list[Path]:
    """The shipped eDOS stores, as far as present: labels from before the label plan, and those of the plan."""
    return [store for store in (SHIPPED_STORE, SHIPPED_SHARDS) if store.exists()]


def default_store(shipped: Path) -> Path:
    """Where new labels go: in a clone to those that it carries, else to a store of that name in `data/` of this folder."""
    return shipped if IS_CLONE else Path("data") / shipped.name


class PredictionSettings(BaseModel):
    """Which models predict, and how."""

    model_config = ConfigDict(extra="forbid")

    models: list[str] = Field(
        default=list(EDOS_MODELS),
        min_length=1,
        description="Models to predict with, the leading one first. "
        "A file of published predictions (.npz, .parquet, .csv) counts as one.",
    )
    phonon_model: str | None = Field(
        default="sitedos",
        description="Model, with the shipped weights, that predicts the phonons of the picks of a screen; null for none. "
        "force-constants is the most accurate one and takes seconds a crystal.",
    )
    max_phonons: int = Field(
        default=200, ge=0, description="Maximum number of picks, by rank, whose phonons are predicted."
    )
    max_transport: int = Field(
        default=5,
        ge=0,
        description="Maximum number of picks, by rank, whose masses and Seebeck coefficients are computed, if one of the models "
        "is tight binding: one to four seconds each for small cells.",
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:1, ...; auto uses a GPU if there is one.")
    weights_dir: Path | None = Field(default=None, description="Folder of the weights; the shipped ones if not given.")
    max_edges_per_batch: int = Field(
        default=DEFAULT_MAX_EDGES,
        ge=1,
        description="Maximum number of edges per batch, 32 times as many for Mat2Spec, GATGNN and student, which work through "
        "a batch in parts; halved when memory runs out.",
    )
    descriptor_cache_dir: Path = Field(
        default_factory=lambda: cache_dir("descriptors"),
        description="Folder of what pretrained potentials say of crystals, so that each crystal is described once.",
    )
    descriptor_cache_gib: float = Field(
        default=4.0,
        ge=0,
        description="Size in GiB from which those used longest ago are removed from that folder; 0 stores nothing.",
    )
    scheduler: str | None = Field(
        default=None,
        description="Address of a Dask scheduler, such as tcp://10.0.0.1:8786: its workers, which must reach results_dir, predict "
        "the shards as Prefect tasks (pip install prefect-dask). Without it they are predicted here.",
    )
    shard_size: int = Field(default=2048, ge=1, description="Number of crystals predicted and saved together.")
