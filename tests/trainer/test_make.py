"""Making a candidate: what the generator may say."""

import json
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from app.engines.client import EngineClient
from app.errors import EngineFailed
from app.settings import Settings
from app.stores.artifacts import ArtifactStore
from app.stores.engines import EngineStore
from app.stores.redis import connect
from workers.trainer.evaluate import Examiner
from workers.trainer.make import CandidateMaker


def maker(tmp_path: Path, reply: object, asked: list[httpx.Request]) -> CandidateMaker:
    """Return a maker whose generator is another endpoint that always says the same."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=reply)

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    settings = Settings(
        _env_file=None,
        home=tmp_path,
        generator_url="https://models.example/v1",
        generator_key=SecretStr("secret"),
        generator_model="large",
    )
    engines = EngineStore(connect(settings.registry_url))
    examiner = Examiner(engines, EngineClient(http, SecretStr("k")), wait_s=1)
    return CandidateMaker(settings, ArtifactStore.open(settings), examiner, http)


async def test_the_generator_that_is_set_is_asked_with_its_own_key_and_model(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []
    reply = {"choices": [{"message": {"content": "Who rang it?"}}]}

    said = await maker(tmp_path, reply, asked).ask([{"role": "user", "content": "?"}], 0.7, 40)

    assert said == "Who rang it?"
    assert str(asked[0].url) == "https://models.example/v1/chat/completions"
    assert asked[0].headers["authorization"] == "Bearer secret"
    body = json.loads(asked[0].content)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("large", 0.7, 40)


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{}]}, [], {"choices": None}])
async def test_a_reply_that_is_no_completion_is_the_generators_failure(tmp_path: Path, reply: object) -> None:
    with pytest.raises(EngineFailed, match="no chat completion"):
        await maker(tmp_path, reply, []).ask([], 0.0, 1)
