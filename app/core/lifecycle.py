"""The life of a version, as a pure state machine. Redis applies it; nothing else decides it."""

from enum import StrEnum


class State(StrEnum):
    """Where a version stands between its upload and serving."""

    QUEUED = "queued"
    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


IN_PROGRESS = frozenset({State.PREPARING, State.TRAINING, State.EVALUATING, State.PUBLISHING})
OPEN = IN_PROGRESS | {State.QUEUED}
TERMINAL = frozenset(State) - OPEN
UNSUCCESSFUL = TERMINAL - {State.READY}

_NEXT = {
    State.QUEUED: State.PREPARING,
    State.PREPARING: State.TRAINING,
    State.TRAINING: State.EVALUATING,
    State.EVALUATING: State.PUBLISHING,
    State.PUBLISHING: State.READY,
}
_LEAVE = frozenset({State.FAILED, State.CANCELLED})


def followers(state: State) -> frozenset[State]:
    """Return the states that may come after `state`.

    Work in progress may go back to `queued`, which is what a crash does to it; `failed`, `cancelled` and
    `rejected` go back to `queued` when the user retries. `ready` is final: more documents make a new version.
    """
    if state is State.READY:
        return frozenset()
    if state in TERMINAL:
        return frozenset({State.QUEUED})
    after = _LEAVE | {_NEXT[state]}
    if state in IN_PROGRESS:
        after |= {State.QUEUED}
    if state is State.EVALUATING:
        after |= {State.REJECTED}
    return after


def can_become(state: State, target: State) -> bool:
    """Say whether `target` may follow `state`."""
    return target in followers(state)
