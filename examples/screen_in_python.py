"""From crystals to picks in three lines: predict, classify and rank without a run folder.

python examples/screen_in_python.py
"""

from __future__ import annotations

from pymatgen.core import Lattice, Structure

import screening

perovskites = [
    Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(a), [cation, metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    for cation, metal, anion, a in [("K", "Sc", "F", 4.1), ("Na", "La", "Cl", 5.7), ("Sr", "V", "O", 3.84)]
]

found = screening.screen([*perovskites, "no crystal"])
failed = found.predictions[found.predictions.status != "ok"]
print(failed[["material_id", "model", "reason"]].to_string(index=False))
columns = ["formula", "space_group_symbol", "consensus_confidence", "gap_width_ev", "gap_top_ev", "gapped_metal_by"]
print(found.picks[columns].round(2).to_string(index=False))
print(f"{len(found.picks)} gapped metals among {len(perovskites)} perovskites")
