"""Forward and backward of a pack; on a card as a CUDA graph.

A step on a small model is thousands of kernels that run for microseconds, and launching one takes a CPU longer than
that. So the kernels for a pack are recorded when its size comes for the second time, and launched together from then
on. Packs are padded to a few sizes for it.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from app.core.recipe import Recipe
from workers.trainer.batches import Pack
from workers.trainer.losses import losses
from workers.trainer.targets import Target

MULTIPLE = 256  # of it are a padded pack's tokens and labels: recording a size costs more than padding
NOWHERE = torch.iinfo(torch.long).min  # the segment of padding


class Scored(NamedTuple):
    """Of a pack's labels: (S,) negative log-probabilities in nats, detached, and (S,) whether they have a gradient."""

    nats: torch.Tensor
    learned: torch.Tensor


Backward = Callable[[Pack, int], Scored]  # adds the gradient of a pack's summed loss, over so many labels
Record = Callable[[Callable[[], None]], Callable[[], None]]  # of some work, not done by that: returns what does it


def backward_of(model: Any, recipe: Recipe, *, packs: bool) -> Backward:
    """Choose how a model's gradients are computed.

    Args:
        packs: whether rows score in a pack as they do alone.
    """
    devices = {weight.device for weight in model.parameters()}
    on_one_card = len(devices) == 1 and next(iter(devices)).type == "cuda"
    plain = Plain(model, recipe)
    return Graphs(plain, record_cuda()) if packs and on_one_card and not recipe.dropout else plain


class Plain:
    """Launches every kernel by itself."""

    def __init__(self, model: Any, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe

    def __call__(self, packed: Pack, labels: int) -> Scored:
        """See `Backward`."""
        scored = losses(self.model, packed, self.recipe)
        (scored.descend.sum() / labels).backward()
        return Scored(scored.nats, scored.learned)


class Graphs:
    """Replays what it has recorded of a pack's size; plain for sizes that are new and for teachers' hidden states.

    The weights' gradients must lie where they lay when it was built.
    """

    def __init__(self, plain: Plain, record: Record) -> None:
        self._plain, self._record = plain, record
        self._seen: Counter[tuple[int, int, int]] = Counter()
        self._graphs: dict[tuple[int, int, int], _Graph] = {}
        self._records = True

    def __call__(self, packed: Pack, labels: int) -> Scored:
        """See `Backward`."""
        if packed.target is not None and packed.target.hidden is not None:
            return self._plain(packed, labels)
        size = padded_size(packed)
        graph = self._graph(packed, size)
        return graph(padded(packed, size), len(packed.labels), labels) if graph else self._plain(packed, labels)

    def _graph(self, packed: Pack, size: tuple[int, int, int]) -> "_Graph | None":
        self._seen[size] += 1
        if size not in self._graphs and self._seen[size] > 1 and self._records:
            try:
                self._graphs[size] = _Graph(self._plain, padded(packed, size), self._record)
            except RuntimeError as error:  # a mixture of experts, say, waits for the card in its forward
                self._records = False
                warnings.warn(f"This model's steps cannot be recorded as CUDA graphs: {error}", stacklevel=2)
        return self._graphs.get(size)


def padded_size(packed: Pack) -> tuple[int, int, int]:
    """Return a size a pack can be padded to: its tokens, its labels, one of them at least too many, and K or 0.

    K is how many of a teacher's tokens its targets hold.
    """
    tokens = -(-packed.input_ids.shape[1] // MULTIPLE) * MULTIPLE
    labels = (len(packed.labels) // MULTIPLE + 1) * MULTIPLE
    return tokens, labels, 0 if packed.target is None else packed.target.ids.shape[1]


def padded(packed: Pack, size: tuple[int, int, int]) -> Pack:
    """Return a pack of a size that computes the same; its rows are left out."""
    tokens, labels, _ = size
    behind = (0, tokens - packed.input_ids.shape[1])
    more = (0, labels - len(packed.labels))
    segments = packed.input_ids.new_zeros(2, packed.input_ids.shape[1]) if packed.segments is None else packed.segments
    return Pack(
        input_ids=pad(packed.input_ids, behind),
        position_ids=pad(packed.position_ids, behind),
        segments=pad(segments, behind, value=NOWHERE),
        predict=pad(packed.predict.to(packed.input_ids.device), more),
        labels=pad(packed.labels, more),
        taught=pad(packed.taught, more),
        rows=(),
        target=_padded(packed.target, labels) if packed.target is not None else None,
        below=pad(packed.below, (0, 0, *behind)) if packed.below is not None else None,
    )


def _padded(target: Target, labels: int) -> Target:
    more = (0, labels - len(target.at))
    return Target(
        at=pad(target.at, more, value=labels - 1),  # padding always, whose loss counts for nothing
        ids=pad(target.ids, (0, 0, *more)),
        logprobs=pad(target.logprobs, (0, 0, *more)),
    )


class _Graph:
    """One recording, and the tensors it reads and writes."""

    def __init__(self, plain: Plain, pack: Pack, record: Record) -> None:
        """Record the work on a padded pack, whose tensors are kept for the packs to come."""
        self._pack = pack
        self._share = torch.zeros(len(pack.labels), device=pack.labels.device)  # in the loss; 0 adds no gradient
        self._nats = torch.zeros_like(self._share)
        self._learned = torch.zeros_like(pack.taught)

        def work() -> None:
            scored = losses(plain.model, pack, plain.recipe)
            (scored.descend * self._share).sum().backward()
            self._nats.copy_(scored.nats)
            self._learned.copy_(scored.learned)

        self._replay = record(work)

    def __call__(self, pack: Pack, count: int, labels: int) -> Scored:
        """Do the work on another padded pack, of which `count` labels are no padding."""
        for own, its in zip(_tensors(self._pack), _tensors(pack), strict=True):
            own.copy_(its)
        self._share.zero_()
        self._share[:count] = 1 / labels
        self._replay()
        return Scored(self._nats[:count], self._learned[:count])


def _tensors(pack: Pack) -> list[torch.Tensor]:
    values = [*vars(pack).values(), *(vars(pack.target).values() if pack.target else ())]
    return [value for value in values if isinstance(value, torch.Tensor)]


def record_cuda() -> Record:
    """Return what records CUDA graphs that share their memory: of several, one runs at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], None]) -> Callable[[], None]:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels and allocate at first
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            work()
        return graph.replay

    return record
