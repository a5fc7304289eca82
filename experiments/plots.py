"""The figures of the experiments, as svg."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = ("#1b6ca8", "#c84b31", "#2d8659", "#8a5a9e", "#b8860b", "#555555")


def kept_against_clean(runs: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw the share of clean answers over the rise of the perplexity on clean text, in per cent: one dot a run."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter([0.0], [100 * runs[0]["gain"]["clean"][0]], color="black", marker="x", label="before")
    looks = itertools.product("osv", COLOURS)  # a marker with each colour, then the next marker
    for (marker, colour), method in zip(looks, dict.fromkeys(run["method"] for run in runs), strict=False):
        own = [run for run in runs if run["method"] == method]
        rises = [100 * (math.exp(run["after"]["nats_clean"] - run["before"]["nats_clean"]) - 1) for run in own]
        axes.scatter(
            rises, [100 * run["gain"]["clean"][1] for run in own], color=colour, marker=marker, label=method, alpha=0.8
        )
    axes.set(xlabel="perplexity of clean text, change in per cent", ylabel="clean answers, per cent")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(target)


def story(rows: Sequence[dict[str, Any]], told: str, target: Path) -> None:
    """Draw two bars for each way of answering: answers that keep their language, and what is known; in per cent.

    Args:
        rows: of `experiments.story`, in the order in which they are drawn.
        told: what the first bars count.
    """
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, (label, name) in enumerate(((told, "clean"), ("the document's questions, right", "right"))):
        at = [number + 0.4 * place for number in range(len(rows))]
        heights = [100 * row[name]["share"] for row in rows]
        around = [[100 * abs(row[name]["share"] - row[name][end]) for row in rows] for end in ("low", "high")]
        axes.bar(at, heights, 0.38, yerr=around, color=COLOURS[2 * place], label=label, error_kw={"lw": 1})
        for x, height in zip(at, heights, strict=True):
            axes.annotate(f"{height:.0f}", (x, 2), ha="center", color="white" if height > 10 else "black")
    axes.set_xticks([number + 0.2 for number in range(len(rows))], [row["who"] for row in rows])
    axes.set(ylabel="per cent", ylim=(0, 105))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(target)
