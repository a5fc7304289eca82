"""Consistency against what was kept: one dot a run, as an svg with no library."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, EDGE = 640, 400, 60
COLOURS = ("#1b6ca8", "#c84b31", "#2d8659", "#8a5a9e", "#b8860b", "#555555")


def plot(runs: Sequence[dict[str, Any]], target: Path) -> None:
    """Draw the share of clean answers over the rise of the perplexity on clean text of the language, in per cent."""
    dots = [(_rise(run), 100 * run["gain"]["clean"][1], run["method"]) for run in runs]
    dots.append((0.0, 100 * runs[0]["gain"]["clean"][0], "before"))
    xs, ys = [x for x, _, _ in dots], [y for _, y, _ in dots]
    left, right = min(xs) - 1, max(xs) + 1
    low, high = min(ys) - 1, max(ys) + 1
    names = list(dict.fromkeys(name for _, _, name in dots))
    parts = [_frame(left, right, low, high)]
    for x, y, name in dots:
        across = EDGE + (x - left) / (right - left) * (WIDTH - 2 * EDGE)
        down = HEIGHT - EDGE - (y - low) / (high - low) * (HEIGHT - 2 * EDGE)
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="5" fill="{_colour(names, name)}" opacity="0.8"/>')
    for place, name in enumerate(names):
        at = f'x="{WIDTH - EDGE + 6}" y="{EDGE + 16 * place}" fill="{_colour(names, name)}"'
        parts.append(f"<text {at}>{escape(name)}</text>")
    size = f'width="{WIDTH + 80}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    target.write_text(head + "".join(parts) + "</svg>\n", encoding="utf-8")


def _rise(run: dict[str, Any]) -> float:
    return 100 * (math.exp(run["after"]["nats_clean"] - run["before"]["nats_clean"]) - 1)


def _colour(names: Sequence[str], name: str) -> str:
    return COLOURS[names.index(name) % len(COLOURS)]


def _frame(left: float, right: float, low: float, high: float) -> str:
    size = f'width="{WIDTH - 2 * EDGE}" height="{HEIGHT - 2 * EDGE}"'
    box = f'<rect x="{EDGE}" y="{EDGE}" {size} fill="none" stroke="#999"/>'
    told = "perplexity of clean text, change in per cent"
    across = f'<text x="{WIDTH / 2}" y="{HEIGHT - 20}" text-anchor="middle">{told}</text>'
    up = f'<text x="{EDGE}" y="{EDGE - 12}">clean answers, per cent</text>'
    ends = [(EDGE, HEIGHT - EDGE + 16, left), (WIDTH - EDGE, HEIGHT - EDGE + 16, right)]
    ends += [(EDGE - 24, HEIGHT - EDGE, low), (EDGE - 24, EDGE + 4, high)]
    ticks = "".join(f'<text x="{x}" y="{y}" text-anchor="middle">{value:.1f}</text>' for x, y, value in ends)
    return box + across + up + ticks
