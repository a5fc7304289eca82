"""A gateway behind `httpx.MockTransport`: it knows one memory and tells its story in server-sent events."""

import json
from collections.abc import Callable
from typing import Any

import httpx

MEMORY_ID = "mem_" + "0" * 26
GUARD_ID = "lng_" + "0" * 26
STORY: list[tuple[str, dict[str, Any]]] = [
    ("state", {"state": "queued"}),
    ("state", {"state": "preparing"}),
    ("progress", {"stage": "preparing", "done": 3, "total": 3}),
    ("state", {"state": "training"}),
    ("progress", {"stage": "training", "step": 7, "steps": 9, "loss": 1.25, "tokens_per_s": 512.0, "eta_s": 3}),
    ("state", {"state": "evaluating"}),
    ("state", {"state": "ready"}),
]


PLAN: dict[str, Any] = {
    "object": "plan", "rank": 16, "alpha": 32, "rank_given": False, "target": "mlp", "partitions": 1, "facts": 193,
    "tokens": 4053, "tokens_estimated": False, "parameters": 3041280, "adapter_mb": 6.083, "most_tokens": 5200,
    "exposures_per_fact": 40, "epochs": 40, "steps": 1000, "target_recall": 0.95, "recall": 0.972, "recall_low": 0.9,
    "recall_high": 0.99, "estimated_s": 290.0, "calibrated": True, "split": True,
}  # fmt: skip


CANDIDATES = [
    {"id": MEMORY_ID, "name": "phone [b]book", "version": 12, "score": 17.25, "similarity": 0.5, "taken": True,
     "reason": "first token: entropy 0.01, gain +3.20 nats; " + "and more " * 20},
    {"id": MEMORY_ID, "name": "n" * 128, "version": 1, "score": 2.0, "similarity": None, "taken": False,
     "reason": "below the threshold 6.40"},
]  # fmt: skip
PASSAGES = [{"document": "book.md", "index": 3, "score": 4.5, "text": "Ada\nlives\there. " * 20}]


class FakeGateway:
    """Answers what the command line asks, and remembers what that was.

    Attributes:
        breaks: after how many events a stream breaks, for each stream in turn; the last one runs to the end.
        refusals: how many requests for a stream are answered with 503 first.
        interrupted: whether Ctrl-C is pressed while a stream is read.
        latest: how many versions the memory has; each has the same story.
        lost: what the compression of a guard's sum cost.
    """

    def __init__(self, status: str = "ready", error: dict[str, str] | None = None) -> None:
        self.status, self.error = status, error
        self.breaks: list[int] = []
        self.refusals = 0
        self.interrupted, self.latest = False, 1
        self.lost: float | None = None
        self.requests: list[httpx.Request] = []
        self._told = True  # the story, to its end

    @property
    def transport(self) -> httpx.MockTransport:
        """The transport to give to the command line."""
        return httpx.MockTransport(self._answer)

    def asked(self, method: str, path: str) -> list[httpx.Request]:
        """Return the requests of one kind."""
        return [one for one in self.requests if (one.method, one.url.path) == (method, path)]

    def memory(self, status: str) -> dict[str, Any]:
        """Return the memory as the API shows it."""
        scores = {"kind": "recall", "questions": 4, "base": 0.0, "adapter": 0.975, "adapter_interval": [0.87, 1.0]}
        scores |= {"control": {"known": 23, "kept": 20}}
        shown = {"id": MEMORY_ID, "object": "memory", "name": "phone book", "status": status, "version": 1}
        shown["latest"] = self.latest
        return {**shown, "scores": scores, "error": self.error, "created_at": 1.7e9, "metadata": {"a": "[red]b"}}

    def guard(self, status: str) -> dict[str, Any]:
        """Return the language guard as the API shows it."""
        sides: dict[str, Any] = {"before": {"strict": {"rpr": 0.5}}, "after": {"strict": {"rpr": 0.75}}}
        sides["compression_error"] = self.lost
        shown = {"id": GUARD_ID, "object": "language", "name": "ko 450bd4", "language": "ko", "strict": True}
        return {**shown, "memory": MEMORY_ID, "status": status, "scores": sides, "error": self.error}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.headers["Authorization"] != "Bearer lk_test":
            return refused(401, "This API key is unknown: send a valid one.")
        memory = f"/v1/memories/{MEMORY_ID}"
        deleted = {"id": MEMORY_ID, "object": "memory.deleted", "status": "erasing"}
        routes: dict[tuple[str, str], Callable[[], httpx.Response]] = {
            ("POST", "/v1/memories"): lambda: httpx.Response(202, json=self.memory("queued")),
            ("POST", "/v1/memories/import"): lambda: httpx.Response(202, json=self.memory("queued")),
            ("GET", "/v1/memories"): lambda: self._page(request.url.params),
            ("GET", f"{memory}/events"): lambda: self._events(request),
            ("GET", memory): lambda: httpx.Response(200, json=self.memory(self.status if self._told else "training")),
            ("GET", f"{memory}/export"): lambda: httpx.Response(200, content=b"tar" * 1000),
            ("POST", f"{memory}/documents"): lambda: httpx.Response(202, json=self.memory("queued")),
            ("POST", f"{memory}/cancel"): lambda: httpx.Response(200, json=self.memory("cancelled")),
            ("POST", f"{memory}/retry"): lambda: httpx.Response(202, json=self.memory("queued")),
            ("DELETE", memory): lambda: httpx.Response(202, json=deleted),
            ("POST", "/v1/languages"): lambda: httpx.Response(202, json=self.guard("queued")),
            ("GET", "/v1/languages"): lambda: httpx.Response(
                200, json={"data": [self.guard(self.status)], "has_more": False, "next": None}
            ),
            ("GET", f"/v1/languages/{GUARD_ID}"): lambda: httpx.Response(200, json=self.guard(self.status)),
            ("GET", f"/v1/languages/{GUARD_ID}/events"): lambda: self._events(request),
            ("POST", f"/v1/languages/{GUARD_ID}/cancel"): lambda: httpx.Response(200, json=self.guard("cancelled")),
            ("POST", f"/v1/languages/{GUARD_ID}/retry"): lambda: httpx.Response(202, json=self.guard("queued")),
            ("DELETE", f"/v1/languages/{GUARD_ID}"): lambda: httpx.Response(202, json={**deleted, "id": GUARD_ID}),
            ("POST", "/v1/plans"): lambda: httpx.Response(200, json=PLAN),
            ("POST", "/v1/query"): lambda: httpx.Response(200, json=answer(json.loads(request.content))),
            ("POST", "/v1/keys"): lambda: httpx.Response(201, json={"id": "key_1", **json.loads(request.content)}),
        }
        missing = refused(404, "There is no such thing.")
        return routes.get((request.method, request.url.path), lambda: missing)()

    def _page(self, params: httpx.QueryParams) -> httpx.Response:
        if params.get("name", "phone book") != "phone book":
            return httpx.Response(200, json={"data": [], "has_more": False, "next": None})
        first = "after" not in params and "name" not in params
        page = {"data": [self.memory(self.status)], "has_more": first, "next": MEMORY_ID if first else None}
        return httpx.Response(200, json=page)

    def _events(self, request: httpx.Request) -> httpx.Response:
        if self.interrupted:
            raise KeyboardInterrupt
        if self.refusals:
            self.refusals -= 1
            return refused(503, "The registry cannot be reached.")
        seen = int(request.headers.get("Last-Event-ID", "0-0").partition("-")[0])
        whole = [(kind, {**data, "version": n + 1}) for n in range(self.latest) for kind, data in STORY]
        end = self.breaks.pop(0) if self.breaks else len(whole)
        self._told = end == len(whole)
        numbered = list(enumerate(whole, 1))[seen:end]
        lines = [f"id: {n}-0\r\nevent: {kind}\r\ndata: {json.dumps(data)}\r\n" for n, (kind, data) in numbered]
        quiet = ": still here\r\n"
        body = "\r\n".join([quiet, *(part for line in lines for part in (line, quiet)), ""])
        return httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer a query with its own question."""
    used = [{"id": MEMORY_ID, "version": 1, "score": None}]
    memory = {"mode": body["mode"], "used": used, "passages": [], "engine": "one", "cold": True, "load_ms": 41.2}
    if body.get("explain"):
        memory |= {"candidates": CANDIDATES, "passages": PASSAGES, "abstained": False}
    return {"answer": f"{body['question']} \x1b[31m[b]42", "memory": memory, "usage": None}


def refused(status: int, message: str) -> httpx.Response:
    """Return an error as the gateway words it."""
    return httpx.Response(status, json={"error": {"message": message, "type": "x", "code": "y", "param": None}})
