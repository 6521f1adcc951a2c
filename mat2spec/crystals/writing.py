"""Write crystals in common formats."""

from __future__ import annotations

import re

from pymatgen.io.cif import CifWriter

from mat2spec.crystals.arrays import Crystals


def cif_block(crystals: Crystals, index: int) -> str:
    """One crystal as a data block of a CIF file, named after its identifier; all sites are written, in P1."""
    text = str(CifWriter(crystals.structure(index)))
    # The name of a block ends at the first blank.
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", str(crystals.material_ids[index]))
    return re.sub(r"(?m)^data_.*$", f"data_{name}", text, count=1)
