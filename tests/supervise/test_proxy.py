"""How `lorekeep up` finds its gateway: past a proxy of the environment's, and on IPv6."""

from pathlib import Path

import pytest

from app.settings import Settings
from app.supervise.run import TESTS
from tests.proxy import needs_ipv6, proxied


def test_a_gateway_of_this_machine_is_looked_for_without_the_environments_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(monkeypatch) as proxy:
        assert TESTS["gateway"](Settings(_env_file=None, home=tmp_path, port=proxy.server_port), 0)

    assert proxy.asked == ["/healthz"]


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_gateway_that_listens_on_ipv6_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with proxied(monkeypatch, "::1") as server:  # alone: uvicorn's `::` is no IPv4 either
        assert TESTS["gateway"](Settings(_env_file=None, home=tmp_path, host=host, port=server.server_port), 0)
