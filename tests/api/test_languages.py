"""Checks of a text's language over HTTP."""

import httpx
import pytest

from app.core.roles import Role
from tests.api.conftest import World

pytestmark = pytest.mark.redis
TEXT = "오늘은 weather 가 좋다."


async def test_a_check_says_where_the_text_leaves_its_language(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/languages/check", json={"text": TEXT, "language": "ko", "strict": True})
    body = reply.json()

    assert (reply.status_code, body["object"], body["clean"]) == (200, "language.check", False)
    assert body["confusions"] == [{"start": 4, "end": 11, "kind": "latin_word", "text": "weather"}]
    assert (body["language"], body["strict"], body["target_share"]) == ("ko", True, pytest.approx(6 / 13))


async def test_without_strict_english_is_ignored(http: httpx.AsyncClient) -> None:
    body = (await http.post("/v1/languages/check", json={"text": TEXT, "language": "ko"})).json()

    assert (body["clean"], body["confusions"]) == (True, [])


async def test_lines_of_several_words_are_identified(http: httpx.AsyncClient) -> None:
    text = "Il fait beau.\nThis line is in English only."
    body = (await http.post("/v1/languages/check", json={"text": text, "language": "fr"})).json()
    [line] = body["lines"]

    assert (line["start"], line["end"], line["language"]) == (14, len(text), "en")
    assert [one["kind"] for one in body["confusions"]] == ["line"]


async def test_what_the_prompt_asks_for_is_let_through(http: httpx.AsyncClient) -> None:
    asked = {"text": "Good morning, my friend.", "language": "ko", "strict": True}
    free = (await http.post("/v1/languages/check", json={**asked, "prompt": "영어로 인사해 주세요."})).json()
    bound = (await http.post("/v1/languages/check", json=asked)).json()

    assert (free["clean"], bound["clean"]) == (True, False)


async def test_an_empty_text_is_clean_and_has_no_share(http: httpx.AsyncClient) -> None:
    body = (await http.post("/v1/languages/check", json={"text": "", "language": "ko"})).json()

    assert (body["clean"], body["target_share"], body["lines"]) == (True, None, [])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text": TEXT, "language": "xx"}, "The language 'xx' is not known: name one of ar"),
        ({"language": "ko"}, "text: is missing"),
        ({"text": TEXT, "language": "ko", "prompt": 1}, "prompt: Input should be a valid string"),
        ({"text": TEXT, "language": "ko", "mode": "x"}, "mode: is not a field of this request"),
    ],
)
async def test_a_check_that_cannot_be_made_says_why(
    http: httpx.AsyncClient, body: dict[str, object], said: str
) -> None:
    reply = await http.post("/v1/languages/check", json=body)

    assert reply.status_code == 400
    assert said in reply.json()["error"]["message"]


async def test_any_key_may_check_and_nobody_without_one(world: World) -> None:
    async with await world.as_("acme", Role.READER) as reader, world.client(None) as nobody:
        asked = {"text": TEXT, "language": "ko"}

        assert (await reader.post("/v1/languages/check", json=asked)).status_code == 200
        assert (await nobody.post("/v1/languages/check", json=asked)).status_code == 401
