"""Whom the command line asks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli.gateway import GatewayError, call, gateway
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


def test_an_address_that_can_be_none_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOREKEEP_API_KEY", "lk_key")
    monkeypatch.setenv("LOREKEEP_URL", "http://far..example")
    context: Any = SimpleNamespace(obj=None)  # the network

    with pytest.raises(GatewayError, match=r"LOREKEEP_URL is http://far\.\.example"), gateway(context) as client:
        call(client, "GET", "/v1/memories")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTP_PROXY", "ftp://proxy.example", "Unknown scheme"),
        ("HTTP_PROXY", "http://[::1", "Invalid"),
        ("ALL_PROXY", "socks5://proxy.example", "socksio"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
    ],
)
def test_a_proxy_or_certificate_that_cannot_be_used_is_told_with_the_variables_that_name_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOREKEEP_API_KEY", "lk_key")
    monkeypatch.setenv("LOREKEEP_URL", "http://far.example")
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, value)
    context: Any = SimpleNamespace(obj=None)  # the network

    with pytest.raises(GatewayError, match=f"{said}.*check HTTP_PROXY"), gateway(context):
        pass
