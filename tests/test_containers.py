"""The container files agree with the settings and open no door: no Docker engine is needed to say so."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.proxy import needs_ipv6, proxied

ROOT = Path(__file__).parent.parent
yaml = pytest.importorskip("yaml")


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def healthcheck() -> Any:
    spec = importlib.util.spec_from_file_location("healthcheck", ROOT / "docker" / "healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_gateways_port_is_published_and_to_this_host_alone() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert list(published) == ["gateway"]
    assert published["gateway"] == ["${LOREKEEP_PUBLISH:-127.0.0.1:8000}:8000"]


def test_redis_is_reached_from_inside_only_and_asks_for_a_password() -> None:
    redis = services()["redis"]

    assert redis["networks"] == ["inside"]
    assert "requirepass" in redis["command"][-1]
    assert "--appendfsync always" in redis["command"][-1]


def test_every_variable_that_containers_get_is_a_setting() -> None:
    given = {name for service in services().values() for name in service.get("environment", {})}
    texts = [(ROOT / name).read_text() for name in ("Dockerfile", "docker/cuda.yml", "docker/env.example")]
    given |= {name for text in texts for name in re.findall(r"\b(LOREKEEP_[A-Z_]+)(?:=|: )", text)}
    fields = {f"LOREKEEP_{name}".upper() for name in Settings.model_fields}

    assert {name for name in given if name.startswith("LOREKEEP_")} <= fields


@pytest.mark.parametrize("told", ["docs/operations.md", "docker/env.example"])
def test_what_containers_fix_themselves_is_told(told: str) -> None:
    given = [pair for service in services().values() for pair in service.get("environment", {}).items()]
    fixed = {name for name, value in given if name.startswith("LOREKEEP_") and "${" not in value}
    absent = {f"LOREKEEP_{name}" for name in ("HOME", "HOST", "PORT", "DEVICE", "ENGINE_HOST", "ENGINE_PORT")}
    [listed] = re.findall(r"what compose fixes: LOREKEEP([^.;]*)", (ROOT / told).read_text().replace("`", ""))

    assert {f"LOREKEEP{name}" for name in re.findall(r"_[A-Z_]+", listed)} == fixed | absent


def test_every_setting_reaches_the_containers_but_for_what_they_fix_themselves() -> None:
    given = {name for service in services().values() for name in service.get("environment", {})}
    fields = {f"LOREKEEP_{name}".upper() for name in Settings.model_fields}
    places = {"HOME", "HOST", "PORT", "ENGINE_HOST", "ENGINE_PORT"}  # the same in every container
    outside = {"URL", "API_KEY", "PUBLISH", "GPUS"}  # of the command line and of compose itself
    cards = {"DEVICE", "GPU_MEMORY_UTILIZATION"}  # given by docker/cuda.yml

    assert fields - given == {f"LOREKEEP_{name}" for name in places | outside | cards}


def test_the_image_runs_as_a_user_of_its_own_and_has_both_targets() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert {"cpu", "cuda"} <= set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    assert re.search(r"^USER lorekeep$", dockerfile, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", dockerfile, re.MULTILINE)


def test_the_cpu_build_alone_is_shown_the_index_of_cpu_wheels_and_every_target_needs_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    told = re.findall(r"^#   docker build --target (\S+) +--build-arg PIP_EXTRA_INDEX_URL=", dockerfile, re.MULTILINE)

    assert [name for name, stage in stages if "PIP_EXTRA_INDEX_URL" in stage] == ["build-cpu"]
    assert told == ["cpu", "cuda"]


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {name.removesuffix("/") for name in names} <= kept
    assert all((ROOT / name).exists() for name in names)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (b"/bin/python\0-m\0app.main\0", "gateway"),
        (b"/bin/python\0-m\0workers.engine\0", "engine"),
        (b"/bin/python\0-m\0workers.trainer\0", "trainer"),
        (b"sh\0", ""),
    ],
)
def test_the_health_check_knows_its_part_by_the_command(command: bytes, part: str) -> None:
    assert healthcheck().part_of(command) == part


def test_a_part_that_does_not_answer_is_unhealthy(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=1, engine_port=1)

    assert [healthcheck().is_healthy(part, settings) for part in ("gateway", "engine", "trainer")] == [False] * 3


@pytest.mark.parametrize("part", ["gateway", "engine"])
def test_a_part_is_looked_at_past_any_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    with proxied(monkeypatch) as proxy:
        port = proxy.server_port
        assert healthcheck().is_healthy(part, Settings(_env_file=None, home=tmp_path, port=port, engine_port=port))

    assert [target.startswith("/") for target in proxy.asked] == [True]


@needs_ipv6
@pytest.mark.parametrize("part", ["gateway", "engine"])
def test_a_part_that_listens_on_ipv6_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    with proxied(monkeypatch, "::1") as server:
        port = server.server_port
        settings = Settings(_env_file=None, home=tmp_path, host="::", port=port, engine_host="::", engine_port=port)
        assert healthcheck().is_healthy(part, settings)


def test_a_password_is_put_into_the_registrys_url() -> None:
    here = Settings.model_validate({"redis_url": "redis://redis:6379/0", "redis_password": "a/b c"})
    there = Settings.model_validate({"redis_url": "redis://:x@redis:6379/0", "redis_password": "y"})

    assert here.registry_url == "redis://:a%2Fb%20c@redis:6379/0"
    assert there.registry_url == "redis://:x@redis:6379/0"
