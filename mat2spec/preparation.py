"""What is done with crystals before networks see them: examination, descriptors and graphs, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mat2spec.crystals.arrays import Crystals
from mat2spec.graphs.batch import CrystalGraphs
from mat2spec.graphs.building import build_graphs, build_graphs_and_examine
from mat2spec.graphs.settings import GraphSettings
from mat2spec.spectra.trust import CrystalFacts
from mat2spec.tables.array_cache import ArrayCache


class Prepared(NamedTuple):
    """Crystals that only networks have still to see: what is known of them, and their graphs for each kind of graphs."""

    crystals: Crystals
    facts: CrystalFacts
    graphs: dict[GraphSettings, tuple[CrystalGraphs, list[str | None]]]


def prepare(crystals: Crystals, kinds: Mapping[GraphSettings, ArrayCache | None]) -> Prepared:
    """Examine crystals and make their graphs of each kind, with the cache of its descriptors."""
    made: dict[GraphSettings, tuple[CrystalGraphs, list[str | None]]] = {}
    facts: CrystalFacts | None = None
    for settings, cache in kinds.items():
        if facts is None:
            graphs, problems, examination = build_graphs_and_examine(crystals, settings, cache)
            facts = CrystalFacts.of(crystals, examination)
        else:
            graphs, problems = build_graphs(crystals, settings, cache, facts.problems)
        made[settings] = graphs, problems
    return Prepared(crystals, facts or CrystalFacts.of(crystals), made)
