"""Choosing among memories: who is scored, below what score nobody is chosen, and who is asked in what order.

A wrong specialist is worse than none (Understanding LoRA as Knowledge Memory, Q9), so a question that no memory is
about is the base model's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RANK_CONSTANT = 60
ABSTAIN = 0.95
ABSTAIN_BY_ONE = (1 + ABSTAIN) / 2  # of two signals, each of which lets a memory answer
_NEAR = 0.5  # a memory with less of the best one's score is no second choice
_ASKED = 3
_TOLD = 10


@dataclass(frozen=True)
class Serving:
    """A memory's current version, as selection sees it.

    Attributes:
        adapters: one, or all parts.
        metadata: in pairs, sorted, so that the value can be a key.
        generalist: it is asked when no other memory knows, and is no candidate itself.
    """

    memory_id: str
    version: int
    adapters: tuple[str, ...]
    name: str
    metadata: tuple[tuple[str, str], ...] = ()
    generalist: bool = False

    @property
    def card(self) -> str:
        """What its owner says of it."""
        return "\n".join([self.name, *(value for _, value in self.metadata)])


@dataclass(frozen=True)
class Candidate:
    """A memory and its score for one question.

    Attributes:
        similarity: cosine of its nearest embedding; None where there are no embeddings.
        fused: what it is ranked by.
    """

    serving: Serving
    score: float
    similarity: float | None = None
    fused: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """Above which a memory may answer: by its words, or, where there are embeddings, by its similarity."""

    score: float
    similarity: float = math.inf

    def passed(self, candidate: Candidate) -> bool:
        """Say whether one of the signals suffices."""
        return candidate.score > self.score or (candidate.similarity or -math.inf) > self.similarity


def calibrate(own: Sequence[float], control: Sequence[float], abstaining: float = ABSTAIN) -> float:
    """Return the score that a memory must exceed, from the best score that each question got.

    It keeps the asked share of control questions below it and loses the fewest own ones. Of all thresholds that do, it
    lies a quarter of the way up: own questions are those that training and gate know, and users ask in other words.

    Args:
        own: of questions about the memories.
        control: of questions about nothing that they hold.
    """
    spared = math.floor((1 - abstaining) * len(control) + 1e-9)
    ranked = sorted(control, reverse=True)
    low = max(0.0, ranked[spared]) if spared < len(ranked) else 0.0
    high = min((score for score in own if score > low), default=low)
    return low + (high - low) / 4


def fuse(rankings: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return each name's reciprocal-rank score over several rankings, best first in each.

    Paper: Cormack, Clarke, Büttcher 2009, Reciprocal rank fusion, section 2
    """
    fused: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, 1):
            fused[name] = fused.get(name, 0.0) + 1 / (RANK_CONSTANT + rank)
    return fused


def rank(
    servings: Sequence[Serving], scores: Mapping[str, float], similarities: Mapping[str, float] | None = None
) -> list[Candidate]:
    """Return the memories that share anything with a question, best first; by words alone where that is all there is.

    Args:
        scores, similarities: by memory id.
    """
    near = similarities or {}
    found = [
        Candidate(one, scores.get(one.memory_id, 0.0), near.get(one.memory_id))
        for one in servings
        if scores.get(one.memory_id, 0.0) > 0 or one.memory_id in near
    ]
    by_words = sorted((one for one in found if one.score > 0), key=lambda one: -one.score)
    by_meaning = sorted((one for one in found if one.similarity is not None), key=lambda one: -(one.similarity or 0))
    if not near:
        return [Candidate(one.serving, one.score, None, one.score) for one in by_words]
    fused = fuse([[one.serving.memory_id for one in ranking] for ranking in (by_words, by_meaning)])
    ranked = [Candidate(one.serving, one.score, one.similarity, fused[one.serving.memory_id]) for one in found]
    return sorted(ranked, key=lambda one: (-one.fused, -one.score))


def shortlist(ranked: Sequence[Candidate], thresholds: Thresholds) -> list[Candidate]:
    """Return those that may be asked, in their order; none where the base model should answer."""
    fit = [one for one in ranked if thresholds.passed(one)]
    if not fit:
        return []
    near = [one for one in fit if one is fit[0] or one.similarity is not None or one.score >= _NEAR * fit[0].score]
    return near[:_ASKED]


@dataclass(frozen=True)
class Considered:
    """What became of one candidate, for whoever asks why."""

    candidate: Candidate
    taken: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return what a reply says of it."""
        serving, similarity = self.candidate.serving, self.candidate.similarity
        return {
            "id": serving.memory_id,
            "name": serving.name,
            "version": serving.version,
            "score": round(self.candidate.score, 4),
            "similarity": None if similarity is None else round(similarity, 4),
            "taken": self.taken,
            "reason": self.reason,
        }


def consider(
    ranked: Sequence[Candidate], thresholds: Thresholds, reasons: Sequence[str], *, taken: bool
) -> list[Considered]:
    """Tell of the best candidates why each was taken or passed over.

    Args:
        reasons: of those that were asked, in the shortlist's order; the last one was `taken`, or none was.
    """
    asked = {one.serving.memory_id: reason for one, reason in zip(shortlist(ranked, thresholds), reasons, strict=False)}
    chosen = list(asked)[-1] if taken else None
    told = []
    for one in ranked[:_TOLD]:
        memory_id = one.serving.memory_id
        if memory_id in asked:
            reason = asked[memory_id]
        elif not thresholds.passed(one):
            reason = f"below the threshold {thresholds.score:.2f}"
        else:
            reason = "an earlier one was taken" if taken else "far behind the first"
        told.append(Considered(one, memory_id == chosen, reason))
    return told
