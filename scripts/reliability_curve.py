"""Draw how often models are right where they state a probability of a gapped metal: docs/reliability.png.

    python -m scripts.reliability_curve

From the cross-fitted figures that `scripts.calibrate_gapped_metals` writes, which calls this too. Bars are Wilson's intervals
at 95 %.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from screening.classify import gapped_metals
from screening.classify.gapped_metals import CALIBRATION_FILE
from screening.evaluate.confusion import wilson_interval
from scripts.pages import DOCS

PICTURE = DOCS / "reliability.png"
# Models a picture may show before it is crowded, in this order of preference.
SHOWN = ("tight-binding", "tight-binding-mp", "sitedos", "student", "mat2spec", "gatgnn", "e3nn")


def draw(content: dict[str, Any], path: Path = PICTURE) -> None:
    """One panel per model: share found in DFT against the mean probability of a bin, with the number of materials."""
    names = [name for name in SHOWN if name in content["models"]]
    figure = Figure(figsize=(2.4 * len(names[:4]), 2.6 * -(-len(names) // 4)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(-(-len(names) // 4), 4, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for mean, true, n in content["models"][name]["reliability"]:
            ends = wilson_interval(int(true), int(n))
            share = true / n
            assert ends.low is not None
            assert ends.high is not None
            bars = [[max(share - ends.low, 0)], [max(ends.high - share, 0)]]
            axis.errorbar([mean], [share], bars, fmt="o", color="C0", markersize=4, capsize=2)
            axis.annotate(f"{int(n)}", (mean, share), (4, 3), textcoords="offset points", fontsize=7, color="0.3")
        axis.set_title(name, fontsize=9)
        axis.set_xlim(0, 0.8)
        axis.set_ylim(-0.02, 1.02)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    figure.supxlabel("stated probability of a gapped metal", fontsize=9)
    figure.supylabel("share found in DFT", fontsize=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the shipped calibration."""
    draw(json.loads(Path(gapped_metals.__file__).with_name(CALIBRATION_FILE).read_text()))


if __name__ == "__main__":
    main()
