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

from app.core.recipe import Recipe
from workers.trainer.batches import Pack
from workers.trainer.losses import losses
from workers.trainer.targets import Target

TOKENS = 128  # a padded pack has a multiple of it
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
        graph = self._graph(packed)
        return graph(packed, labels) if graph else self._plain(packed, labels)

    def _graph(self, packed: Pack) -> "_Graph | None":
        if packed.target is not None and packed.target.hidden is not None:
            return None
        size = padded_size(packed)
        self._seen[size] += 1
        if size not in self._graphs and self._seen[size] > 1 and self._records:
            try:
                self._graphs[size] = _Graph(self._plain, size, self._record)
            except RuntimeError as error:  # a mixture of experts, say, waits for the card in its forward
                self._records = False
                warnings.warn(f"This model's steps cannot be recorded as CUDA graphs: {error}", stacklevel=2)
        return self._graphs.get(size)


def padded_size(packed: Pack) -> tuple[int, int, int]:
    """Return a size a pack can be padded to: its tokens, its labels, one of them at least too many, and K or 0.

    K is how many of a teacher's tokens its targets hold.
    """
    tokens = -(-packed.input_ids.shape[1] // TOKENS) * TOKENS
    labels = next(size for size in (tokens // 4, tokens // 2, tokens) if size > len(packed.labels))
    return tokens, labels, 0 if packed.target is None else packed.target.ids.shape[1]


class _Graph:
    """One recording, and the tensors it reads and writes."""

    def __init__(self, plain: Plain, size: tuple[int, int, int], record: Record) -> None:
        (tokens, labels, top), device = size, plain.model.device
        long = {"dtype": torch.long, "device": device}
        self._pack = Pack(
            input_ids=torch.zeros(1, tokens, **long),
            position_ids=torch.zeros(1, tokens, **long),
            segments=torch.full((2, tokens), NOWHERE, **long),
            predict=torch.zeros(labels, **long),
            labels=torch.zeros(labels, **long),
            taught=torch.zeros(labels, dtype=torch.bool, device=device),
            rows=(),
            target=_no_target(labels, top, device) if top else None,
        )
        self._share = torch.zeros(labels, device=device)  # of a label in the loss; recording adds no gradient
        self._nats = torch.zeros(labels, device=device)
        self._learned = torch.zeros(labels, dtype=torch.bool, device=device)

        def work() -> None:
            scored = losses(plain.model, self._pack, plain.recipe)
            (scored.descend * self._share).sum().backward()
            self._nats.copy_(scored.nats)
            self._learned.copy_(scored.learned)

        self._replay = record(work)

    def __call__(self, packed: Pack, labels: int) -> Scored:
        self._fill(packed)
        count = len(packed.labels)
        self._share.zero_()
        self._share[:count] = 1 / labels
        self._replay()
        return Scored(self._nats[:count], self._learned[:count])

    def _fill(self, packed: Pack) -> None:
        segments = torch.zeros_like(packed.input_ids) if packed.segments is None else packed.segments
        own = self._pack
        _pad(own.input_ids, packed.input_ids, 0)
        _pad(own.position_ids, packed.position_ids, 0)
        _pad(own.segments, segments, NOWHERE)
        _pad(own.predict, packed.predict, 0)
        _pad(own.labels, packed.labels, 0)
        _pad(own.taught, packed.taught, False)
        if own.target is not None and packed.target is not None:
            last = len(own.labels) - 1  # padding always, whose loss counts for nothing
            for mine, its, rest in zip(_fields(own.target), _fields(packed.target), (last, 0, 0.0), strict=True):
                mine.fill_(rest)
                mine[: len(its)] = its


def _pad(static: torch.Tensor | None, values: torch.Tensor, rest: float) -> None:
    assert static is not None
    static.fill_(rest)
    static[..., : values.shape[-1]] = values


def _no_target(labels: int, top: int, device: torch.device) -> Target:
    at = torch.full((labels,), labels - 1, device=device)
    ids = torch.zeros(labels, top, dtype=torch.long, device=device)
    return Target(at, ids, torch.zeros(labels, top + 1, device=device))


def _fields(target: Target) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return target.at, target.ids, target.logprobs


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
