"""A version's files as one tar, written while it is sent."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 20


def tar_of(folder: Path, prefix: str) -> Iterator[bytes]:
    """Yield a tar of the files in a folder, under a name of their own; never more than a block is in memory."""
    for path in sorted(folder.iterdir()):
        info = tarfile.TarInfo(f"{prefix}/{path.name}")
        info.size, info.mtime = path.stat().st_size, path.stat().st_mtime
        yield info.tobuf()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
