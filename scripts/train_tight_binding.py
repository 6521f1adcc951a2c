"""Train the model tight-binding on the labels of the project and write its weights and card.

    python -m scripts.train_tight_binding DATA FOLDER [--store STORE ...]

DATA is the folder of labelled spectra (see `mat2spec train edos`); the store that the project carries is trained on
too. FOLDER keeps the state of each member: call it again after an interruption. About two minutes a member on one core
for 639 labels; run it with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from mat2spec.graphs.settings import GraphSettings
from mat2spec.labels.readers.data_folder import load_edos
from mat2spec.settings import shipped_stores
from mat2spec.training.tight_binding import TightBindingTraining
from mat2spec.training.tight_binding_runs import run_tight_binding


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="Folder of labelled spectra.")
    parser.add_argument("folder", type=Path, help="Where checkpoints and weights go.")
    parser.add_argument("--store", type=Path, action="append", default=[], help="A further eDOS store.")
    parser.add_argument("--settings", default="{}", help="Fields of TightBindingTraining, as JSON.")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    torch.set_num_threads(1)
    settings = TightBindingTraining.model_validate_json(given.settings)
    data = load_edos(given.data, GraphSettings(), [*shipped_stores(), *given.store])
    print(run_tight_binding(data, settings, given.folder))


if __name__ == "__main__":
    main()
