"""A server that notes what it was asked: a path where it was asked directly, a whole address where as a proxy."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.settings import url_of

REPLY = json.dumps({"choices": [{"message": {"content": "Yes."}}]}).encode()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


class Proxy(ThreadingHTTPServer):
    """The server; `asked` are the targets of its requests, in order."""

    def __init__(self, host: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)
        self.asked: list[str] = []
        self._news = threading.Condition()

    @property
    def url(self) -> str:
        """Where it answers."""
        return url_of(str(self.server_address[0]), self.server_port)

    def note(self, target: str) -> None:
        """Note a request."""
        with self._news:
            self.asked.append(target)
            self._news.notify_all()

    def wait_for(self, target: str) -> None:
        """Block until it was asked for a target."""
        with self._news:
            assert self._news.wait_for(lambda: target in self.asked, 10), self.asked


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        """Note the target and say yes."""
        self.server.note(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(REPLY)))
        self.end_headers()
        self.wfile.write(REPLY)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def proxied(environment: pytest.MonkeyPatch, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """Run a server that is the proxy of this process's environment, for this machine's addresses too."""
    with Proxy(host) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            environment.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "http_proxy"):
            environment.setenv(name, proxy.url)
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
