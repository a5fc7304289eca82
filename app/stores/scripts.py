"""The Lua scripts of this folder, each one a step that must happen whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.stores.redis import Registry

_FOLDER = Path(__file__).parent / "lua"


class Scripts:
    """Runs the scripts by name on one connection."""

    def __init__(self, redis: Registry) -> None:
        self._scripts = {path.stem: redis.register_script(path.read_text()) for path in _FOLDER.glob("*.lua")}

    async def run(self, name: str, keys: Sequence[str], args: Sequence[object]) -> Any:
        """Run one script and return its reply as it comes."""
        return await self._scripts[name](keys=keys, args=args)
