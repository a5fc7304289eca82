"""The names of the keys that several scripts share; a tenant is a part of each (design decision 8)."""

JOBS = "lk:jobs"
ERASURES = "lk:erasures"


def memory_key(tenant: str, memory_id: str) -> str:
    """One memory's fields."""
    return f"lk:t:{tenant}:memory:{memory_id}"


def version_key(tenant: str, memory_id: str, number: int) -> str:
    """One version's fields."""
    return f"lk:t:{tenant}:version:{memory_id}:{number}"


def memories_key(tenant: str) -> str:
    """All ids of a tenant, in the order of their making."""
    return f"lk:t:{tenant}:memories"


def revision_key(tenant: str) -> str:
    """Set anew by whatever may change which memories serve, and under what name."""
    return f"lk:t:{tenant}:revision"


def names_key(tenant: str) -> str:
    """Name -> id."""
    return f"lk:t:{tenant}:names"


def contents_key(tenant: str) -> str:
    """Digest of the documents -> id."""
    return f"lk:t:{tenant}:contents"


def idempotency_key(tenant: str, key: str) -> str:
    """What a client's `Idempotency-Key` led to."""
    return f"lk:t:{tenant}:idempotency:{key}"


def events_key(tenant: str, memory_id: str) -> str:
    """A memory's stream of events."""
    return f"lk:t:{tenant}:events:{memory_id}"


def tombstone_key(tenant: str, memory_id: str) -> str:
    """What is left of a deleted memory: its receipt."""
    return f"lk:t:{tenant}:tombstone:{memory_id}"
