"""Plain tar: written block by block, and read as what it is, a stranger's file.

Read are regular files, and of their headers the name and the size. Extended headers, links, devices, folders and sparse
files are refused, so that nothing becomes larger than what came.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import UnreadableExport

_BLOCK = 1 << 20
_USTAR_BYTES = 8 * 2**30  # larger files need the header that GNU tar writes
_MAX_FILES = 20_000


@dataclass(frozen=True)
class Entry:
    """One file to write.

    Attributes:
        modified_at: in seconds since the epoch.
    """

    name: str
    size_bytes: int
    modified_at: float
    open: Callable[[], BinaryIO]


def tar_of(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield a tar of the files; never more than a block is in memory."""
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.size, info.mtime = entry.size_bytes, int(entry.modified_at)
        yield info.tobuf(tarfile.USTAR_FORMAT if info.size < _USTAR_BYTES else tarfile.GNU_FORMAT)
        with entry.open() as file:
            while block := file.read(_BLOCK):
                yield block
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def unpack(source: BinaryIO, place: Callable[[str, int], Path]) -> None:
    """Copy the files of a tar to where they may go.

    Args:
        place: from a file's name in the tar and its size to its path, in a folder that is there; raises where there is
            none. The name is never used otherwise.

    Raises:
        UnreadableExport: it is no tar, broken off, or holds something other than plain files.
    """
    count = 0
    while info := _next(source):
        count += 1
        if count > _MAX_FILES:
            raise UnreadableExport(f"The tar holds more than {_MAX_FILES} files: send one that an export gave.", "file")
        path = place(info.name, info.size)
        if path.exists():
            raise UnreadableExport(f"The tar holds {path.name} twice: send it as the export gave it.", "file")
        with path.open("xb") as file:
            _copy(source, file, info.size)
        source.read(-info.size % tarfile.BLOCKSIZE)


def _next(source: BinaryIO) -> tarfile.TarInfo | None:
    block = source.read(tarfile.BLOCKSIZE)
    if block == bytes(tarfile.BLOCKSIZE):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise UnreadableExport(
            "The file is not a whole tar: send the one that GET /v1/memories/{id}/export gave, not compressed.", "file"
        ) from error
    if info.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or info.size < 0:
        raise UnreadableExport(
            f"The tar holds {info.name[:80]!r}, which is not a plain file: send the tar as the export gave it.", "file"
        )
    return info


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    left = size
    while left:
        block = source.read(min(left, _BLOCK))
        if not block:
            raise UnreadableExport("The tar is broken off: export the memory again and send all of it.", "file")
        target.write(block)
        left -= len(block)
