"""Names: what users may call a memory, and what engines call its adapters."""

import re
from dataclasses import dataclass
from typing import Self

from app.core.errors import InvalidValue

BASE = "base"
ID_BEGINNINGS = ("mem_", "lng_")  # no name begins so
TENANT = r"[a-z0-9][a-z0-9-]{0,39}"  # what matches one
_MEMORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")
_MEMORY_ID = re.compile(r"mem_[0-9a-z]{26}")
_FOLDERS = {"mem": "memories", "cmp": "composites", "lng": "languages"}
_GUARD_ID = re.compile(r"lng_[0-9a-z]{26}")
_ADAPTER = re.compile(rf"({TENANT})\.((?:{'|'.join(_FOLDERS)})_[0-9a-z]{{26}})\.v([1-9][0-9]{{0,8}})\.([0-9a-f]{{12}})")


def check_memory_name(name: str) -> str:
    """Return `name` if a memory may carry it.

    Raises:
        InvalidValue: it may not; the text says what may.
    """
    if name == BASE or name.startswith(ID_BEGINNINGS):
        raise InvalidValue(
            f"The name {name[:40]!r} is reserved: choose one that is not 'base' and does not begin as an id does."
        )
    if not _MEMORY_NAME.fullmatch(name):
        raise InvalidValue(
            "A memory's name is 1-128 letters, digits, spaces, '.', '_' or '-', and begins with a letter or digit."
        )
    return name


def check_tenant(tenant: str) -> str:
    """Return `tenant` if it may partition keys, paths and adapter names.

    Raises:
        InvalidValue: it may not; the text says what may.
    """
    if not re.fullmatch(TENANT, tenant):
        raise InvalidValue("A tenant is 1-40 lower-case letters, digits or '-', and begins with a letter or digit.")
    return tenant


def is_memory_id(text: str) -> bool:
    """Say whether `text` has the form of an id the server mints."""
    return _MEMORY_ID.fullmatch(text) is not None


def is_guard_id(text: str) -> bool:
    """Say whether `text` has the form of a language guard's id."""
    return _GUARD_ID.fullmatch(text) is not None


def folder_of(owner: str) -> str:
    """Return the folder in which a memory, composite or guard lies, below its tenant's."""
    return f"{_FOLDERS[owner[:3]]}/{owner}"


def is_composite(adapter: str) -> bool:
    """Say whether an adapter's name is a composite's; no tenant holds a dot."""
    return adapter.partition(".")[2].startswith("cmp_")


@dataclass(frozen=True)
class AdapterName:
    """What engines call one version: immutable, so that no cache keyed by it can ever be stale.

    Its text is `<tenant>.<owner>.v<version>.<digest12>`: design decisions 2 and 8.

    Attributes:
        owner: id of the memory (`mem_…`), composite (`cmp_…`) or language guard (`lng_…`) it belongs to.
    """

    tenant: str
    owner: str
    version: int
    digest12: str

    def __str__(self) -> str:
        return f"{self.tenant}.{self.owner}.v{self.version}.{self.digest12}"

    @property
    def folder(self) -> str:
        """The version's folder, relative to the artifact root; derived, never received."""
        return f"{self.tenant}/{folder_of(self.owner)}/v{self.version}.{self.digest12}"

    @property
    def is_composite(self) -> bool:
        """Whether an engine builds it, and the artifact store does not hold it."""
        return is_composite(str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form back.

        Raises:
            InvalidValue: the text is not exactly of that form.
        """
        match = _ADAPTER.fullmatch(text)
        if match is None:
            raise InvalidValue("That is not the name of an adapter.")
        tenant, owner, version, digest12 = match.groups()
        return cls(tenant, owner, int(version), digest12)
