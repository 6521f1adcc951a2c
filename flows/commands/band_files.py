"""`mat2spec predict --bands FOLDER`: band structures of crystals as files, each beside its density of states."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from monty.json import jsanitize
from pymatgen.electronic_structure.plotter import BSDOSPlotter

from flows.commands.terminal import console
from flows.stages import load_predictors
from flows.stages.transport import tight_binding_models
from mat2spec.faults import CRYSTAL_FAULTS, reason_of_fault
from mat2spec.tables.files import atomic_path
from mat2spec.tables.text import counted
from mat2spec.tight_binding.electronic_structure import ElectronicStructure
from mat2spec.tight_binding.predictor import TightBindingPredictor

if TYPE_CHECKING:
    from pathlib import Path

    from flows.settings import ScreenSettings
    from mat2spec.crystals.arrays import Crystals


def write_bands(crystals: Crystals, settings: ScreenSettings, folder: Path) -> None:
    """Write bands along the standard path, `NAME.json` for pymatgen and `NAME.png`; say which crystals have none, and why.

    Parameters
    ----------
    crystals
        The crystals.
    settings
        The first of their models that is tight binding is used.
    folder
        Where the files go.
    """
    model = tight_binding_models(settings.prediction)[0]
    (predictor,) = load_predictors(settings.prediction.model_copy(update={"models": [model], "device": "cpu"}))
    assert isinstance(predictor, TightBindingPredictor)
    folder.mkdir(parents=True, exist_ok=True)
    n_written = 0
    for index, problem in enumerate(predictor.problems_of(crystals)):
        name = str(crystals.material_ids[index])
        reason = problem or _write(predictor, crystals, index, folder / _file_name(name))
        if reason:
            console.print(f"No bands of {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
        n_written += not reason
    console.print(f"Bands of {counted(n_written, 'crystal')}: {folder}", soft_wrap=True, highlight=False)


def _file_name(material_id: str) -> str:
    """A name for the files of a crystal that no folder hides, also of one that was read as ../Si.cif.

    Examples
    --------
    >>> _file_name("../relaxed/Si.cif")
    '_relaxed_Si.cif'
    """
    return re.sub(r"[^\w.+-]", "_", material_id).lstrip(".")


def _write(predictor: TightBindingPredictor, crystals: Crystals, index: int, path: Path) -> str:
    """Write the files of one crystal; return why there are none, or nothing."""
    structure = crystals.structure(index)
    try:
        electrons = ElectronicStructure.of(predictor.model, structure, predictor.max_atoms, spin=predictor.spin)
        bands, densities = electrons.band_structure(), electrons.dos()
    except CRYSTAL_FAULTS as error:
        return reason_of_fault(error)
    with atomic_path(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(json.dumps(jsanitize(bands.as_dict())), encoding="utf-8")
    BSDOSPlotter(bs_projection=None, font="DejaVu Sans").get_plot(bands, densities)
    figure = plt.gcf()
    figure.suptitle(structure.composition.reduced_formula)
    with atomic_path(path.with_name(f"{path.name}.png")) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)
    return ""
