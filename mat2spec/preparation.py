"""What is done with crystals before networks see them: examination, descriptors and graphs, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mat2spec.crystals.arrays import Crystals
from mat2spec.crystals.primitive import CellSizes
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs, build_graphs_and_examine
from mat2spec.graphs.settings import GraphSettings
from mat2spec.models.metal_head import shipped_metal_head
from mat2spec.spectra.trust import CrystalFacts
from mat2spec.tables.array_cache import ArrayCache


class Prepared(NamedTuple):
    """Crystals that only networks have still to see: what is known of them, and their graphs for each kind of graphs.

    `metal` is the probability of a metal by composition, None where it was not asked for.
    """

    crystals: Crystals
    facts: CrystalFacts
    graphs: dict[GraphSettings, tuple[CrystalGraphs, list[str | None]]]
    metal: NDArray[np.float32] | None


def prepare(
    crystals: Crystals,
    kinds: Mapping[GraphSettings, ArrayCache | None],
    sizes: CellSizes | None = None,
    *,
    is_electronic: bool = True,
) -> Prepared:
    """Examine crystals and make their graphs.

    Parameters
    ----------
    crystals
        The crystals.
    kinds
        Kinds of graphs, each with the cache of its descriptors.
    sizes
        Of their cells, where they are known.
    is_electronic
        Whether to find the probability that each is a metal.
    """
    made: dict[GraphSettings, tuple[CrystalGraphs, list[str | None]]] = {}
    facts: CrystalFacts | None = None
    for settings, cache in kinds.items():
        if facts is None:
            graphs, problems, examination = build_graphs_and_examine(crystals, settings, cache)
            facts = CrystalFacts.of(crystals, examination)
        else:
            graphs, problems = build_graphs(crystals, settings, cache, facts.problems)
        made[settings] = graphs, problems
    metal = shipped_metal_head().probability_of_metal(crystals, sizes).astype(np.float32) if is_electronic else None
    return Prepared(crystals, facts or CrystalFacts.of(crystals), made, metal)
