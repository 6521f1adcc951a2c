"""The class of crystals of the textbook, by every model: right, `unsure`, or wrong.

    OMP_NUM_THREADS=1 python -m scripts.textbook_crystals [--models tight-binding mat2spec] [--write]

With --write the table goes into docs/metals.md.
The test of `screening.classify.metals` asks the same of the default model and Mat2Spec.
"""

from __future__ import annotations

import argparse

import pandas as pd
import torch
from pymatgen.core import Lattice, Structure

import screening
from mat2spec.tables.columns import Column
from screening.classify.classes import ElectronicClass
from scripts.pages import DOCS, put_table


def known_crystals() -> dict[str, tuple[Structure, set[str]]]:
    """Crystals of the textbook, and which electronic classes are right."""
    cubic, group = Lattice.cubic, Structure.from_spacegroup
    perovskite = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    layers = [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
    halves, quarters = [[0, 0, 0], [0.5, 0.5, 0.5]], [[0, 0, 0], [0.25, 0.25, 0.25]]
    # A semimetal has no gap either: a spectrum that is broadened by 0.2 eV cannot tell how low its DOS at E_F is.
    return {
        "SrVO3": (group("Pm-3m", cubic(3.84), ["Sr", "V", "O"], perovskite), {"metal"}),
        "Si": (group("Fd-3m", cubic(5.43), ["Si"], [[0, 0, 0]]), {"semiconductor", "non-metal"}),
        "GaAs": (group("F-43m", cubic(5.65), ["Ga", "As"], quarters), {"semiconductor", "non-metal"}),
        "C (diamond)": (group("Fd-3m", cubic(3.567), ["C"], [[0, 0, 0]]), {"insulator", "non-metal"}),
        "NaCl": (group("Fm-3m", cubic(5.64), ["Na", "Cl"], halves), {"insulator", "non-metal"}),
        "MgO": (group("Fm-3m", cubic(4.21), ["Mg", "O"], halves), {"insulator", "non-metal"}),
        "Al": (group("Fm-3m", cubic(4.05), ["Al"], [[0, 0, 0]]), {"metal"}),
        "Cu": (group("Fm-3m", cubic(3.61), ["Cu"], [[0, 0, 0]]), {"metal"}),
        "Fe": (group("Im-3m", cubic(2.87), ["Fe"], [[0, 0, 0]]), {"metal"}),
        "C (graphite)": (group("P6_3/mmc", Lattice.hexagonal(2.46, 6.71), ["C", "C"], layers), {"semimetal", "metal"}),
    }


def classes_by(model: str) -> pd.DataFrame:
    """Classes of these crystals by a model, by name."""
    crystals = known_crystals()
    structures = [structure for structure, _ in crystals.values()]
    found = screening.screen(structures, models=[model], material_ids=list(crystals)).classifications
    return found.set_index(Column.MATERIAL_ID)


def main() -> None:
    """Print the table, and put it into its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="*", default=["tight-binding", "tight-binding-mp", "sitedos", "mat2spec", "student"]
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/metals.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {model: classes_by(model) for model in given.models}
    rows = ["| crystal | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name, (_, right) in known_crystals().items():
        rows.append(f"| {name} | " + " | ".join(describe(table.loc[name], right) for table in found.values()) + " |")
    print("\n".join(rows))
    if given.write:
        put_table(DOCS / "metals.md", "## Textbook crystals", "\n".join(rows))


def describe(row: pd.Series, right: set[str]) -> str:
    """The class, the probability of a metal, and whether it is wrong."""
    name = str(row[Column.ELECTRONIC_CLASS])
    wrong = "" if name in {*right, ElectronicClass.UNSURE} else ", wrong"
    return f"{name} ({row[Column.METAL_CONFIDENCE]:.2f}{wrong})"


if __name__ == "__main__":
    main()
