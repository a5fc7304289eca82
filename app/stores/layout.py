"""The names of the keys that several scripts share; a tenant is a part of each (design decision 8)."""

JOBS = "lk:jobs"
ERASURES = "lk:erasures"
PINNED = "lk:engine:pinned"
MEMORY, GUARD = "mem", "lng"  # kinds: what ids begin with


def kind_of(memory_id: str) -> str:
    """Say what an id names: a memory or a language guard."""
    return memory_id[:3]


def _of(kind: str) -> str:
    """Guards have names, lists and contents of their own."""
    return "" if kind == MEMORY else f":{kind}"


def memory_key(tenant: str, memory_id: str) -> str:
    """One memory's fields."""
    return f"lk:t:{tenant}:memory:{memory_id}"


def version_key(tenant: str, memory_id: str, number: int) -> str:
    """One version's fields."""
    return f"lk:t:{tenant}:version:{memory_id}:{number}"


def memories_key(tenant: str, kind: str = MEMORY) -> str:
    """All ids of a tenant, in the order of their making."""
    return f"lk:t:{tenant}:memories{_of(kind)}"


def revision_key(tenant: str) -> str:
    """Set anew by whatever may change which memories serve, and under what name."""
    return f"lk:t:{tenant}:revision"


def names_key(tenant: str, kind: str = MEMORY) -> str:
    """Name -> id."""
    return f"lk:t:{tenant}:names{_of(kind)}"


def contents_key(tenant: str, kind: str = MEMORY) -> str:
    """Digest of the documents -> id."""
    return f"lk:t:{tenant}:contents{_of(kind)}"


def idempotency_key(tenant: str, key: str) -> str:
    """What a client's `Idempotency-Key` led to."""
    return f"lk:t:{tenant}:idempotency:{key}"


def events_key(tenant: str, memory_id: str) -> str:
    """A memory's stream of events."""
    return f"lk:t:{tenant}:events:{memory_id}"


def tombstone_key(tenant: str, memory_id: str) -> str:
    """What is left of a deleted memory: its receipt."""
    return f"lk:t:{tenant}:tombstone:{memory_id}"
