"""The web page is open to everybody, and opens nothing else."""

import re

import httpx
import pytest

from app.api.console import FILES
from tests.api.conftest import World

pytestmark = pytest.mark.redis


async def test_the_page_and_every_file_it_names_are_served_without_a_key(world: World) -> None:
    page = await world.client(None).get("/")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    imported = [name for text in FILES.values() for name in re.findall(r'from "\./([a-z]+\.js)"', text.decode())]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert len(named) >= 3
    for path in [*named, *(f"/console/{name}" for name in imported)]:
        assert (await world.client(None).get(path)).status_code == 200, path


def test_no_file_asks_anybody_else_for_anything_or_writes_markup() -> None:
    for name, data in FILES.items():
        text = data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"\sstyle=|\son[a-z]+=", text), name  # the policy would drop it
        assert not re.search(r"(?:https?:)?//[a-z]+\.", text), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text), name


@pytest.mark.parametrize("part", ['<input id="question"', '<p class="answer"'])
def test_questions_and_answers_are_written_in_the_direction_of_their_own_script(part: str) -> None:
    found = re.findall(f"{part}[^>]*>", FILES["index.html"].decode())

    assert found
    assert all('dir="auto"' in tag for tag in found)


def test_no_form_is_filled_again_by_the_browser_where_another_key_begins_the_page_anew() -> None:
    forms = re.findall("<form[^>]*>", FILES["index.html"].decode())

    assert forms
    assert all('autocomplete="off"' in tag for tag in forms)


async def test_a_strict_policy_keeps_other_peoples_scripts_and_frames_out(world: World) -> None:
    for path in ("/", "/console/main.js"):
        policy = (await world.client(None).get(path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path", ["/console/", "/console/x.js", "/console/../main.py", "/console/%2e%2e%2fmain.py", "/console/__init__.py"]
)
async def test_only_the_pages_own_files_are_open(world: World, path: str) -> None:
    assert (await world.client(None).get(path)).status_code == 401


@pytest.mark.parametrize("path", ["/console/", "/console/x.js", "/console/../main.py", "/console/__init__.py"])
async def test_what_the_page_does_not_have_is_a_404_to_those_with_a_key(world: World, path: str) -> None:
    assert (await world.client().get(path)).status_code == 404


async def test_a_file_that_has_not_changed_is_not_sent_again(world: World) -> None:
    first = await world.client(None).get("/console/style.css")
    again = await world.client(None).get("/console/style.css", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    assert first.headers["cache-control"] == "no-cache"
