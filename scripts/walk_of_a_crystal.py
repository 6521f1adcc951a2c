"""Which rooms of the code one crystal passes through in a screen: a table in Markdown for `docs/reference/walk.md`.

    python scripts/walk_of_a_crystal.py

Rock salt is screened without DFT while the interpreter notes every call into this project. A room is a folder of a
package, or a module beside the folders; a step is a call into another module than the previous one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from pymatgen.core import Lattice, Structure

from flows.pipeline import Done, Stage, open_run, run_stage, run_stages, stages_of
from flows.settings import ScreenSettings

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("mat2spec", "screening", "dft_validation", "flows")
# What every stage passes, whatever it does.
_FRAME = {"flows/pipeline", "flows/stages", "screening/runs", "screening/progress", "mat2spec/tables"}


class Walk:
    """Modules in the order in which calls enter them, without repetition in a row."""

    def __init__(self) -> None:
        self.modules: list[Path] = []

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """For `sys.setprofile`."""
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(_ROOT):
            return
        module = path.relative_to(_ROOT)
        if module.parts[0] in _PACKAGES and (not self.modules or self.modules[-1] != module):
            self.modules.append(module)


def room(module: Path) -> str:
    """The folder of a module, or the module itself at the top of its package."""
    return "/".join(module.with_suffix("").parts[:2])


def row(stage: str, modules: list[Path]) -> str:
    """A line of the table: rooms in the order of the first visit."""
    rooms = [one for one in dict.fromkeys(map(room, modules)) if one not in _FRAME]
    return f"| {stage} | {len(modules)} | {len(rooms)} | {', '.join(f'`{one}`' for one in rooms)} |"


def main() -> None:
    """Screen one crystal and print the table."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    walk = Walk()
    print("| stage | steps | rooms | which, in the order of the first visit |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        salt.to(filename="salt.cif")
        source = {"kind": "files", "path": "salt.cif"}
        settings = ScreenSettings.model_validate({"source": source, "run_dft": False, "results_dir": "results"})

        def followed(stage: Stage) -> Done:
            walk.modules.clear()
            sys.setprofile(walk.note)
            try:
                return run_stage(stage, run, settings)
            finally:
                sys.setprofile(None)
                print(row(stage.name, walk.modules))

        with open_run(settings) as run:
            run_stages(run, settings, stages_of(settings), followed)


if __name__ == "__main__":
    main()
