"""The web page and its files: a closed list, read once, the same for everybody, and open to nobody else's scripts."""

import hashlib
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from app.errors import NotFound

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PREFIX = "/console/"
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
FILES = {path.name: path.read_bytes() for path in files("console").iterdir() if path.name.rpartition(".")[2] in TYPES}
TAGS = {name: f'"{hashlib.sha256(data).hexdigest()[:16]}"' for name, data in FILES.items()}
OPEN = frozenset({"/", *(PREFIX + name for name in FILES)})

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """Show the page."""
    return _serve("index.html", request)


@router.get("/console/{name}")
async def file(name: str, request: Request) -> Response:
    """Return one of the page's files."""
    return _serve(name, request)


def _serve(name: str, request: Request) -> Response:
    if name not in FILES:
        raise NotFound(f"The page has no file {name[:80]!r}.")
    headers = {
        "ETag": TAGS[name],
        "Cache-Control": "no-cache",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if request.headers.get("if-none-match") == TAGS[name]:
        return Response(status_code=304, headers=headers)
    return Response(FILES[name], headers=headers, media_type=TYPES[name.rpartition(".")[2]])
