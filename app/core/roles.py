"""What an API key may do."""

from enum import StrEnum


class Role(StrEnum):
    """What a key may do: each role may do what those after it may."""

    ADMIN = "admin"
    WRITER = "writer"
    READER = "reader"

    def covers(self, needed: "Role") -> bool:
        """Say whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) <= order.index(needed)
