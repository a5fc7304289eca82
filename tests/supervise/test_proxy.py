"""`lorekeep up` where the environment names a proxy."""

from pathlib import Path

import pytest

from app.settings import Settings
from app.supervise.run import TESTS
from tests.proxy import proxied


def test_a_gateway_of_this_machine_is_looked_for_without_the_environments_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(monkeypatch) as proxy:
        assert TESTS["gateway"](Settings(_env_file=None, home=tmp_path, port=proxy.server_port), 0)

    assert proxy.asked == ["/healthz"]
