"""Whom the command line asks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli.gateway import call, gateway
from tests.proxy import proxied


@pytest.mark.parametrize(
    ("url", "asked"), [("", "/v1/memories"), ("http://far.example", "http://far.example/v1/memories")]
)
def test_this_machines_gateway_is_asked_without_the_environments_proxy_and_another_by_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, asked: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOREKEEP_API_KEY", "lk_key")
    context: Any = SimpleNamespace(obj=None)  # the network
    with proxied(monkeypatch) as proxy:
        monkeypatch.setenv("LOREKEEP_URL", url or proxy.url)
        with gateway(context) as client:
            call(client, "GET", "/v1/memories")

    assert proxy.asked == [asked]
