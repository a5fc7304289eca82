"""The Lua scripts of this folder, each one a step that must happen whole or not at all; they share `shared.lua`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.stores.redis import Registry

_FOLDER = Path(__file__).parent / "lua"


class Scripts:
    """Runs the scripts by name on one connection."""

    def __init__(self, redis: Registry) -> None:
        texts = {path.stem: path.read_text() for path in _FOLDER.glob("*.lua")}
        shared = texts.pop("shared")
        self._scripts = {name: redis.register_script(f"{shared}\n{text}") for name, text in texts.items()}

    async def run(self, name: str, keys: Sequence[str], args: Sequence[object]) -> Any:
        """Run one script and return its reply as it comes."""
        return await self._scripts[name](keys=keys, args=args)
