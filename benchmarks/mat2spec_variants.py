"""Train the variants of Mat2Spec on phonon and electronic spectra with three seeds each, side by side on one device.

    python benchmarks/mat2spec_variants.py pack DATA FOLDER
    python benchmarks/mat2spec_variants.py train FOLDER OUTPUT --device cuda --time-limit 290
    python benchmarks/mat2spec_variants.py table benchmarks/mat2spec_variants.json
    python benchmarks/mat2spec_variants.py latent DATA RUNS/*/mat2spec-*.safetensors

`pack` makes graphs and labels of the data folder into arrays; `train` needs nothing but these, PyTorch, PyTorch
Geometric, SciPy and pydantic, so that it runs on a machine without the rest. It writes `metrics.json` (a row for each
spectrum, setting, variant and seed), the predictions of the test materials and the weights of the best seed of each
variant. `table` prints the tables of such a file. Trainings that must be resumable are those of `mat2spec benchmark`, see
its recipes; `latent` judges the latent space of their weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

PHONONS, ELECTRONS = "phdos", "edos"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Stage:
    """Trainings that run side by side: a spectrum in one setting, and the part of the time left that they may take."""

    spectrum: str
    setting: str
    batch_size: int
    share: float


# The published batches are 8 and 256; the 639 electronic labels make three batches of 213.
STAGES = (
    Stage(PHONONS, "sumnorm-kl", 8, 0.7),
    Stage(PHONONS, "maxnorm-mse", 8, 0.65),
    Stage(ELECTRONS, "standard-mae", 213, 0.5),
    Stage(ELECTRONS, "sumnorm-kl", 213, 0.95),
)
# Weights that are written.
WRITTEN: dict[tuple[str, str], tuple[str, ...]] = {
    (PHONONS, "sumnorm-kl"): ("published", "mixture", "mixture-weak"),
    (ELECTRONS, "sumnorm-kl"): ("mixture",),
    (ELECTRONS, "standard-mae"): ("mixture",),
}
# Columns of the tables: figure to title and format. An electronic shape has its blind scale from standard-mae.
TEST_COLUMNS = {
    PHONONS: {
        "r2_modes": ("R2 3N", "{:.3f}"),
        "r2_blind": ("R2 blind", "{:.3f}"),
        "mae_blind": ("MAE blind", "{:.4f}"),
        "wasserstein_cm1": ("WD / cm-1", "{:.1f}"),
        "heat_capacity_mae": ("C_V MAE", "{:.2f}"),
        "mean_frequency_mae_cm1": ("mean freq. MAE", "{:.1f}"),
        "r2_oracle": ("R2 oracle", "{:.3f}"),
        "mae_oracle": ("MAE oracle", "{:.4f}"),
    },
    ELECTRONS: {
        "r2_blind": ("R2 blind", "{:.3f}"),
        "mae_blind": ("MAE blind", "{:.3f}"),
        "wasserstein_ev": ("WD / eV", "{:.3f}"),
        "r2_oracle": ("R2 oracle", "{:.3f}"),
        "mae_oracle": ("MAE oracle", "{:.3f}"),
    },
}
LATENT = {
    "feature_components": ("feature components (of 10)", "{:.1f}"),
    "label_components": ("label components (of the bins)", "{:.1f}"),
    "r2": ("R2 of the targets", "{:.3f}"),
    "r2_rebuilt": ("R2 of rebuilt labels", "{:.3f}"),
    "cost": ("R2 lost with Z frozen", "{:.3f}"),
}


def pack(data_dir: Path, folder: Path) -> None:
    """Write `phdos.npz`, `edos.npz` and `elements.npz`."""
    from mat2spec.crystals.elements import atomic_masses, element_features
    from mat2spec.graphs.settings import GraphSettings
    from mat2spec.labels.readers import load_spectra

    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "elements.npz", features=element_features(), masses=atomic_masses())
    for spectrum in (PHONONS, ELECTRONS):
        data = load_spectra(data_dir, spectrum, GraphSettings(), pretraining=False)
        graphs = data.graphs
        np.savez_compressed(
            folder / f"{spectrum}.npz",
            spectra=data.spectra,
            split=np.where(data.split == "store_test", "test", data.split).astype(str),
            formulas=data.formulas.astype(str),
            material_ids=data.material_ids.astype(str),
            grid=data.grid.to_json(),
            ptr=graphs.ptr.numpy(),
            edges=graphs.edges.numpy(),
            **{name: value.numpy() for name, value in graphs.own_attributes().items()},
        )
        print(f"{spectrum}: {len(data)} materials")


@dataclass(frozen=True)
class Labels:
    """Packed spectra of one split: what `mat2spec.benchmark.evaluation` needs, and the crystals."""

    spectra: NDArray[np.float32]
    n_atoms: NDArray[np.int64]
    grid: Any
    crystals: Any

    @property
    def stacked(self) -> Any:
        """As the trainer wants it."""
        from mat2spec.training.side_by_side import SplitSpectra

        return SplitSpectra(self.crystals, torch.from_numpy(self.spectra))


def read_pack(path: Path) -> dict[str, Labels]:
    """Packed spectra by split."""
    from mat2spec.graphs.batch import CrystalGraphs
    from mat2spec.models.encoder import CrystalEncoder, EncoderSettings
    from mat2spec.spectra.grids import SpectralGrid
    from mat2spec.training.dense import DenseCrystals

    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    own = ("atomic_numbers", "multiplicity", "edge_length", "edge_multiplicity", "n_atoms")
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("ptr", "edges", *own)}
    crystals = DenseCrystals.of(CrystalGraphs.join(**tensors), CrystalEncoder(EncoderSettings()))
    grid = SpectralGrid.from_json(str(arrays["grid"]))
    parts = {}
    for split in ("train", "valid", "test"):
        rows = np.flatnonzero(arrays["split"] == split)
        taken = crystals.take(torch.from_numpy(rows))
        parts[split] = Labels(arrays["spectra"][rows], arrays["n_atoms"][rows], grid, taken)
    return parts


def train(folder: Path, output: Path, device: str, time_limit_s: float, epochs: int, seeds: tuple[int, ...]) -> None:
    """All stages, each within its share of the time that is left; results are written after each."""
    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    packs = {spectrum: read_pack(folder / f"{spectrum}.npz") for spectrum in (PHONONS, ELECTRONS)}
    report: dict[str, Any] = {
        "device": _device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    rows: list[dict[str, Any]] = []
    spectra: dict[str, NDArray[np.float32]] = {}
    for stage in STAGES:
        left = time_limit_s - (time.monotonic() - started)
        if left < 5:
            print(f"no time is left for {stage.spectrum} {stage.setting}", flush=True)
            continue
        try:
            rows += run_stage(stage, packs[stage.spectrum], output, device, stage.share * left, epochs, seeds, spectra)
        except (RuntimeError, ValueError) as error:  # the other stages may do, and what is done must be written
            print(f"{stage.spectrum} {stage.setting} failed: {type(error).__name__}: {error}", flush=True)
            report.setdefault("failed", []).append(f"{stage.spectrum} {stage.setting}: {error}"[:2000])
        report |= {"rows": rows, "seconds": round(time.monotonic() - started, 1)}
        (output / "metrics.json").write_text(json.dumps(report, indent=1))
        np.savez_compressed(output / "spectra.npz", **spectra)
    print_tables(rows)


def run_stage(
    stage: Stage,
    parts: dict[str, Labels],
    output: Path,
    device: str,
    time_limit_s: float,
    epochs: int,
    seeds: tuple[int, ...],
    spectra: dict[str, NDArray[np.float32]],
) -> list[dict[str, Any]]:
    """Train and judge one stage; predictions of the test materials go into `spectra`."""
    from mat2spec.models.mat2spec import VARIANTS
    from mat2spec.settings import Setting
    from mat2spec.training.side_by_side import Schedule, VariantRun, train_side_by_side

    print(f"{stage.spectrum} {stage.setting}: at most {time_limit_s:.0f} s", flush=True)
    runs = [VariantRun(variant, seed) for variant in VARIANTS for seed in seeds]
    schedule = Schedule(epochs=epochs, batch_size=stage.batch_size, time_limit_s=time_limit_s)
    setting = Setting(stage.setting)
    train, valid = parts["train"].stacked, parts["valid"].stacked
    trained = train_side_by_side(runs, train, valid, setting, schedule, torch.device(device), _say)
    rows = []
    for run, model, loss, best in zip(runs, trained.models, trained.valid_losses, trained.best_epochs, strict=True):
        name = f"{stage.spectrum}-{stage.setting}-{run.variant}-seed{run.seed}"
        vectors = {split: encode(model, parts[split], device) for split in ("valid", "test")}
        for split, encoded in vectors.items():
            spectra[f"{name}-{split}"] = predict(model, encoded).astype(np.float32)
        rows.append(
            {
                "spectrum": stage.spectrum,
                "setting": stage.setting,
                "variant": run.variant,
                "seed": run.seed,
                "epochs": trained.epochs,
                "best_epoch": best,
                "valid_loss": loss,
                "seconds_all": round(trained.seconds, 1),
                **{split: judge(stage, run, split, parts[split], spectra, name) for split in vectors},
                "latent": latent(model, parts["test"], vectors["test"]),
            }
        )
    write_best(stage, rows, trained.models, output)
    return rows


@torch.no_grad()
def encode(model: Any, labels: Labels, device: str) -> torch.Tensor:
    """Vectors of crystals, on the CPU."""
    from mat2spec.training.dense import DenseEncoder

    encoder = DenseEncoder(copy.deepcopy(model.encoder)).eval().to(device)
    return encoder(labels.crystals.to(torch.device(device)))[0].cpu()


@torch.no_grad()
def predict(model: Any, vectors: torch.Tensor) -> NDArray[np.float64]:
    """Spectra per atom of scale models, shapes of the others."""
    from mat2spec.spectra.normalisation import to_spectra_per_atom

    predicted = model.forward_from_vectors(vectors, None)
    return to_spectra_per_atom(predicted, model.setting, model.target_mean, model.target_std).double().numpy()


def judge(
    stage: Stage, run: Any, split: str, labels: Labels, spectra: dict[str, NDArray[np.float32]], name: str
) -> dict[str, Any]:
    """Figures of merit; an electronic shape gets the scale of the same variant and seed in the setting standard-mae."""
    from mat2spec.benchmark.evaluation import evaluate_phdos
    from mat2spec.benchmark.evaluation_edos import evaluate_edos

    predicted = spectra[f"{name}-{split}"].astype(np.float64)
    if stage.spectrum == PHONONS:
        return evaluate_phdos(predicted, None, labels)
    scale = spectra.get(f"{ELECTRONS}-standard-mae-{run.variant}-seed{run.seed}-{split}")
    totals = None if stage.setting == "standard-mae" or scale is None else scale.astype(np.float64).sum(axis=1)
    return evaluate_edos(predicted, None, labels, totals)


def latent(model: Any, labels: Labels, vectors: torch.Tensor) -> dict[str, float]:
    """Whether the embeddings live."""
    from mat2spec.benchmark.latent import describe_latent
    from mat2spec.spectra.normalisation import prepare_targets

    targets = prepare_targets(torch.from_numpy(labels.spectra), model.setting, model.target_mean, model.target_std)
    return describe_latent(model, vectors, targets)


def write_best(stage: Stage, rows: list[dict[str, Any]], models: list[Any], output: Path) -> None:
    """Weights of the seed with the lowest validation loss of some variants."""
    for variant in WRITTEN.get((stage.spectrum, stage.setting), ()):
        chosen = min((row["valid_loss"], index) for index, row in enumerate(rows) if row["variant"] == variant)[1]
        tensors = {name: tensor.contiguous() for name, tensor in models[chosen].state_dict().items()}
        path = output / f"{stage.spectrum}-{stage.setting}-{variant}.safetensors"
        save_file(tensors, path, metadata={"variant": variant, "seed": str(rows[chosen]["seed"])})


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Figures of the test materials and of the latent space as Markdown, a pair of tables for each spectrum and setting."""
    stages: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        key = (row["spectrum"], row["setting"], row["epochs"])
        stages.setdefault(key, {}).setdefault(row["variant"], []).append(row)
    for (spectrum, setting, epochs), variants in stages.items():
        print(f"\n{spectrum} {setting}, {epochs} epochs\n")
        print_table({name: [row["test"] for row in group] for name, group in variants.items()}, TEST_COLUMNS[spectrum])
        print()
        print_table({name: [_latent_row(row["latent"]) for row in group] for name, group in variants.items()}, LATENT)


def print_table(groups: dict[str, list[dict[str, Any]]], columns: dict[str, tuple[str, str]]) -> None:
    """A line for each group: mean and standard deviation over its members."""
    print("| variant | " + " | ".join(title for title, _ in columns.values()) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, members in groups.items():
        known = {key: [member[key] for member in members if member.get(key) is not None] for key in columns}
        cells = [_mean_and_spread(known[key], form) for key, (_, form) in columns.items()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _latent_row(latent: dict[str, float]) -> dict[str, float]:
    return {**latent, "cost": latent["r2"] - latent["r2_frozen"]}


def _mean_and_spread(values: list[float], form: str) -> str:
    if not values:
        return ""
    mean = form.format(np.mean(values))
    return mean if len(values) == 1 else f"{mean} ± {form.format(np.std(values, ddof=1))}"


def _say(line: str) -> None:
    print(line, flush=True)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"


def _without_pymatgen(folder: Path) -> None:
    """Element tables from the pack, on a machine without pymatgen."""
    with np.load(folder / "elements.npz") as stored:
        features, masses = stored["features"], stored["masses"]
    module = types.ModuleType("mat2spec.crystals.elements")
    given = {
        "MAX_ATOMIC_NUMBER": len(features) - 1,
        "element_features": lambda: features,
        "atomic_masses": lambda: masses,
    }
    module.__dict__.update(given)
    sys.modules[module.__name__] = module


def print_latent(data_dir: Path, weights: list[Path]) -> None:
    """What `latent` says of trained weights on the test materials, a line for all of them together."""
    from mat2spec.graphs.settings import GraphSettings
    from mat2spec.labels.readers import load_spectra
    from mat2spec.models.checkpoints import load_weights
    from mat2spec.training.calibration import forward_all

    labels: dict[str, Any] = {}
    rows = []
    for path in weights:
        model, card = load_weights(path)
        spectrum = PHONONS if PHONONS in path.name else ELECTRONS
        if spectrum not in labels:
            data = load_spectra(data_dir, spectrum, GraphSettings(), pretraining=False)
            labels[spectrum] = data.take(np.flatnonzero(np.isin(data.split, ["test", "store_test"])))
        found = latent(model, labels[spectrum], forward_all(model, labels[spectrum]).vectors)
        rows.append(_latent_row(found))
        print(f"{path.name}, {card.training['epochs']} epochs: {json.dumps(found)}", flush=True)
    print_table({"all": rows}, LATENT)


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="make arrays of a data folder")
    packing.add_argument("data", type=Path)
    packing.add_argument("folder", type=Path)
    training = commands.add_parser("train", help="train all variants")
    training.add_argument("folder", type=Path)
    training.add_argument("output", type=Path)
    training.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    training.add_argument("--time-limit", type=float, default=float("inf"), help="seconds")
    training.add_argument("--epochs", type=int, default=200)
    training.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    table = commands.add_parser("table", help="print the tables of a metrics.json")
    table.add_argument("metrics", type=Path)
    judging = commands.add_parser("latent", help="print the figures of the latent space of weights of a benchmark")
    judging.add_argument("data", type=Path)
    judging.add_argument("weights", type=Path, nargs="+")
    given = parser.parse_args()
    if given.command == "latent":
        print_latent(given.data, given.weights)
        return
    if given.command == "table":
        print_tables(json.loads(given.metrics.read_text())["rows"])
        return
    if given.command == "pack":
        pack(given.data, given.folder)
        return
    _without_pymatgen(given.folder)
    seeds = tuple(int(seed) for seed in given.seeds.split(","))
    train(given.folder, given.output, given.device, given.time_limit, given.epochs, seeds)


if __name__ == "__main__":
    main()
