"""Selection never goes by what no longer serves, and leaves alone what no memory is about, in any language."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.control import control_questions, general_questions
from app.core.guard_recipe import SHIPPED
from app.core.lifecycle import State
from app.core.memory import Memory
from app.core.names import AdapterName
from app.core.published import Excerpt
from app.core.selection import calibrate
from app.engines.embeddings import EmbeddingsClient
from app.rank import SELECTION, Published
from app.services.meaning import Meaning
from app.services.select import AGAIN_S, TENANTS, Selector
from app.stores.artifacts import ArtifactStore
from app.stores.memories import MemoryStore
from app.stores.redis import Registry
from app.stores.serving import ServingStore
from app.stores.versions import VersionStore
from tests.factories import a_memory, a_version
from tests.services.test_meaning import Endpoint

pytestmark = pytest.mark.redis
FERRY, DAIRY = "The ferry to Kettle Island takes 35 minutes.", "Maren Iskold directs the dairy."
DATA = Path(__file__).parent.parent / "data"
ABROAD = {  # passages, then the gate's questions, one that a user asks, and general ones that are not shipped
    "de": (
        [
            "Die Fähre zur Insel Kesselholm braucht 35 Minuten und fährt im Sommer jede Stunde vom Westkai ab.",
            "Die Molkerei von Norrfell ist die älteste der Provinz und wird von Maren Iskold geleitet.",
            "Der Leuchtturm von Orm ist 48 Meter hoch. Er wurde gebaut, als der Hafen entstand.",
        ],
        ["Wer leitet die Molkerei von Norrfell?", "Wie lange braucht die Fähre zur Insel?"],
        "Wie hoch ist der Leuchtturm von Orm?",
        ["Was ist die Hauptstadt von Frankreich?", "Wer hat die Glühbirne erfunden?", "Warum ist das Meer salzig?"],
    ),
    "ja": (
        [
            "ケトル島への連絡船は西の桟橋から出発し、三十五分で到着します。夏は一時間ごとに運航されています。",
            "ノルフェルの酪農場の責任者はマレン・イスコルドです。酪農場を設立したのは彼女の祖父でした。",
            "オルムの灯台の高さは四十八メートルです。港を建設したのと同じ建築家によって設計されました。",
        ],
        ["ノルフェルの酪農場の責任者は誰ですか？", "ケトル島への連絡船は何分で到着しますか？"],
        "オルムの灯台の高さは何メートルですか？",
        ["電球を発明したのは誰ですか？", "万里の長城を建設したのは誰ですか？", "太陽系には惑星がいくつありますか？"],
    ),
    "ru": (
        [
            "Паром на остров Кеттл идёт 35 минут и летом отправляется каждый час от западного причала.",
            "Молочная ферма Норфелла — самая старая в области. Марен Искольд руководит ею с тех пор, как ушёл отец.",
            "Маяк Орм, высота которого 48 метров, был построен, когда в городе строили гавань.",
        ],
        ["Кто руководит молочной фермой Норфелла?", "Сколько минут идёт паром на остров?"],
        "Какова высота маяка Орм?",
        ["Сколько планет в Солнечной системе?", "Как долго идёт зима на севере?", "Почему вода в море солёная?"],
    ),
    "hi": (
        [
            "केटल द्वीप की नाव 35 मिनट में पहुँचती है और गर्मियों में हर घंटे पश्चिमी घाट से चलती है।",
            "नॉरफेल की डेयरी प्रांत की सबसे पुरानी डेयरी है और इसकी निदेशक मारेन इस्कोल्ड हैं।",
            "ओर्म का प्रकाशस्तंभ 48 मीटर ऊँचा है। इसे एक वास्तुकार ने बनाया था जब बंदरगाह बन रहा था।",
        ],
        ["नॉरफेल की डेयरी की निदेशक कौन हैं?", "केटल द्वीप की नाव कितने मिनट में पहुँचती है?"],
        "ओर्म का प्रकाशस्तंभ कितना ऊँचा है?",
        ["फ्रांस की राजधानी क्या है?", "बल्ब का आविष्कार किसने किया?", "एक घंटे में कितने मिनट होते हैं?"],
    ),
}


@dataclasses.dataclass
class Place:
    """A registry, a folder of artifacts, and a selector on both."""

    memories: MemoryStore
    versions: VersionStore
    root: Path
    selector: Selector

    async def publish(self, memory: Memory, text: str, number: int = 1, **files: Any) -> None:
        """Make a version of a memory that serves."""
        adapter = AdapterName(memory.tenant, memory.id, number, f"{number:x}" * 12)
        version = a_version(memory, number=number, state=State.READY, adapter=str(adapter))
        if number == 1:
            await self.memories.create(memory, version)
        await self.versions.restore(version)
        await self.memories.update(memory.tenant, memory.id, {"current": number})
        folder = self.root / adapter.folder
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"documents": [{"name": "a.md"}]}))
        (folder / "passages.jsonl").write_text(json.dumps({"text": text}))
        for name, content in files.items():
            (folder / f"{name}.jsonl").write_text(content)

    async def publish_parts(self, memory: Memory, texts: list[str]) -> tuple[str, ...]:
        """Make a version that serves, with a part for each text; return their names."""
        names = [AdapterName(memory.tenant, memory.id, 1, f"{number:x}" * 12) for number in range(len(texts))]
        adapters = tuple(map(str, names))
        version = a_version(memory, state=State.READY, adapter=adapters[0], parts=adapters)
        await self.memories.create(memory, version)
        await self.versions.restore(version)
        await self.memories.update(memory.tenant, memory.id, {"current": 1})
        for number, (name, text) in enumerate(zip(names, texts, strict=True), 1):
            folder = self.root / name.folder
            folder.mkdir(parents=True)
            manifest = {"documents": [{"name": "a.md"}], "part": {"index": number, "of": len(texts)}}
            (folder / "manifest.json").write_text(json.dumps(manifest))
            (folder / "passages.jsonl").write_text(json.dumps({"text": text}))
        return adapters

    async def publish_texts(self, memory: Memory, texts: list[str], questions: list[str]) -> None:
        """Make a version that serves, of several passages, whose gate asks these questions."""
        lines = [
            "\n".join(json.dumps({key: one}) for one in told)
            for key, told in (("text", texts), ("question", questions))
        ]
        await self.publish(memory, "", passages=lines[0], questions=lines[1])

    async def passed(self, question: str) -> bool:
        """Say whether any memory may answer a question."""
        ranking = await self.selector.rank("acme", question)
        return any(map(ranking.thresholds.passed, ranking.candidates))

    async def found(self, question: str, tenant: str = "acme") -> list[str]:
        """Return the names of the memories that are ranked for a question."""
        ranking = await self.selector.rank(tenant, question)
        return [one.serving.name for one in ranking.candidates]


@pytest.fixture
def place(redis: Registry, tmp_path: Path) -> Place:
    artifacts = ArtifactStore(tmp_path.as_uri(), tmp_path / "cache")
    return Place(MemoryStore(redis), VersionStore(redis), tmp_path, Selector(ServingStore(redis), artifacts))


async def test_the_memory_that_a_question_is_about_comes_first(place: Place) -> None:
    await place.publish(a_memory(name="ferry"), FERRY)
    await place.publish(a_memory(name="dairy"), DAIRY)

    assert await place.found("Who directs the dairy?") == ["dairy"]
    assert await place.found("How long does the ferry take?") == ["ferry"]


async def test_a_deleted_memory_is_never_found_again(place: Place) -> None:
    memory = a_memory(name="ferry")
    await place.publish(memory, FERRY)
    before = await place.found("How long does the ferry take?")
    await place.memories.bury(memory, {"id": memory.id})

    assert before == ["ferry"]
    assert await place.found("How long does the ferry take?") == []


async def test_vectors_of_a_memory_that_was_deleted_while_its_tenant_asked_nothing_are_dropped(place: Place) -> None:
    memory, artifacts = a_memory(name="ferry"), place.selector._artifacts
    await place.publish(memory, FERRY)
    async with httpx.AsyncClient(transport=httpx.MockTransport(Endpoint().handle)) as http:
        meaning = Meaning(EmbeddingsClient(http, "http://vectors", SecretStr("secret"), "small"), artifacts)
        selector = Selector(place.selector._store, artifacts, meaning)
        served = (await selector.catalog("acme")).servings
        await selector.rank("acme", "Is there a boat?")
        await meaning.settle()
        learned = await meaning.near("acme", served, "Is there a boat?")
        for number in range(TENANTS):
            await selector.catalog(f"tenant{number}")
        await place.memories.bury(memory, {"id": memory.id})
        await selector.catalog("acme")

        assert learned is not None
        assert await meaning.near("acme", served, "Is there a boat?") is None
        await meaning.settle()


async def test_a_new_version_is_found_by_its_own_words_and_a_rollback_by_the_older_ones(place: Place) -> None:
    memory = a_memory(name="notes")
    await place.publish(memory, FERRY)
    await place.found("ferry")
    await place.publish(dataclasses.replace(memory, latest=2), DAIRY, number=2)
    new = [await place.found("Who directs the dairy?"), await place.found("ferry")]
    await place.memories.update("acme", memory.id, {"current": 1})

    assert new == [["notes"], []]
    assert [await place.found("Who directs the dairy?"), await place.found("ferry")] == [[], ["notes"]]


async def test_a_version_that_a_trainer_publishes_is_found_at_once(place: Place) -> None:
    memory = a_memory(name="ferry")
    await place.publish(memory, FERRY)
    await place.memories.update("acme", memory.id, {"current": 0})
    version = dataclasses.replace(await place.versions.get("acme", memory.id, 1), state=State.PUBLISHING)
    await place.versions.restore(version)
    before = await place.found("ferry")
    await place.versions.change(version, State.READY, memory_fields={"current": 1})

    assert (before, await place.found("ferry")) == ([], ["ferry"])


async def test_another_tenants_memories_are_not_found(place: Place) -> None:
    await place.publish(a_memory(name="ferry", tenant="other"), FERRY)

    assert await place.found("ferry") == []
    assert await place.found("ferry", "other") == ["ferry"]


async def test_a_memory_is_found_by_its_name_and_metadata_and_by_new_ones_after_a_change(place: Place) -> None:
    memory = a_memory(name="Harbour", metadata={"about": "lighthouses"})
    await place.publish(memory, FERRY)
    before = [await place.found("harbour"), await place.found("lighthouse")]
    await place.memories.rename("acme", memory.id, "Quay")

    assert before == [["Harbour"], ["Harbour"]]
    assert [await place.found("harbour"), await place.found("quay")] == [[], ["Quay"]]


async def test_nothing_is_read_again_while_nothing_changes(place: Place) -> None:
    await place.publish(a_memory(name="ferry"), FERRY)
    first = await place.selector.catalog("acme")

    assert await place.selector.catalog("acme") is first
    await place.publish(a_memory(name="dairy"), DAIRY)
    second = await place.selector.catalog("acme")
    assert second.published[first.servings[0].adapters[0]] is first.published[first.servings[0].adapters[0]]


async def test_selection_goes_by_what_was_published_where_it_is_there(place: Place) -> None:
    memory = a_memory(name="ferry")
    await place.publish(memory, FERRY)
    folder = place.root / AdapterName("acme", memory.id, 1, "1" * 12).folder
    (folder / SELECTION).write_text(Published.of(Excerpt([DAIRY], [])).to_json())

    assert [await place.found("ferry"), await place.found("dairy")] == [["ferry"], ["ferry"]]  # the first by its name


@pytest.mark.parametrize("examples", ["{broken", "[" * 100_000, '{"question": "q", "origin": []}'])
async def test_files_that_cannot_be_read_leave_the_rest_findable(place: Place, examples: str) -> None:
    await place.publish(a_memory(name="ferry"), FERRY, examples=examples, questions="[1]")

    assert await place.found("ferry") == ["ferry"]


async def test_a_memory_whose_files_were_away_is_found_again_when_they_are_back(place: Place) -> None:
    now = 0.0
    selector = Selector(place.selector._store, place.selector._artifacts, clock=lambda: now)
    place = dataclasses.replace(place, selector=selector)
    await place.publish(a_memory(name="ferry"), FERRY)
    away = place.root.rename(place.root.with_name("away"))
    found = [await place.found("ferry")]
    now += AGAIN_S
    found.append(await place.found("ferry"))
    away.rename(place.root)
    found.append(await place.found("ferry"))
    now += AGAIN_S
    found.append(await place.found("ferry"))

    assert found == [[], [], [], ["ferry"]]
    assert await selector.catalog("acme") is await selector.catalog("acme")


async def test_the_threshold_lets_a_tenants_own_questions_pass_and_no_control_question(place: Place) -> None:
    asked = json.dumps({"question": "Who directs the dairy?", "answer": "Maren Iskold"})
    await place.publish(a_memory(name="dairy"), DAIRY, questions=asked)
    own = await place.selector.rank("acme", "Who directs the dairy?")
    control = await place.selector.rank("acme", "What is the capital of France?")

    assert own.thresholds.passed(own.candidates[0])
    assert not any(map(control.thresholds.passed, control.candidates))
    assert own.thresholds.score > 0


@pytest.mark.parametrize("language", ABROAD)
async def test_a_memory_of_any_language_answers_what_it_is_about_and_no_general_question(
    place: Place, language: str
) -> None:
    texts, questions, about, general = ABROAD[language]
    await place.publish_texts(a_memory(name="a"), texts, questions)

    assert [await place.passed(one) for one in [*questions, about]] == [True, True, True]
    assert [one for one in general if await place.passed(one)] == []
    assert not set(general) & set(general_questions()[language])


@pytest.mark.parametrize("page", ["halvorsen", "kestrel", "ombrel", "pellow", "veldmark"])
async def test_an_english_memorys_threshold_is_set_by_english_questions(place: Place, page: str) -> None:
    with (DATA / f"{page}_questions.csv").open(newline="") as file:
        questions = [row["question"] for row in csv.DictReader(file)][:8]
    await place.publish_texts(a_memory(name=page), (DATA / f"{page}.md").read_text().split("\n\n"), questions)
    catalog = await place.selector.catalog("acme")
    own = [float(catalog.index.score(one).max()) for one in questions]
    control = [float(catalog.index.score(one.question).max()) for one in control_questions()]

    assert catalog.threshold == calibrate(own, control)


def test_every_language_of_a_guard_has_twenty_general_questions_so_that_one_may_be_spared() -> None:
    counted = {language: len(set(asked)) for language, asked in general_questions().items()}

    assert counted == dict.fromkeys(SHIPPED, 20)


async def test_a_generalist_is_no_candidate_unless_it_is_named(place: Place) -> None:
    memory = a_memory(name="all", generalist=True)
    await place.publish(memory, FERRY)
    ranking = await place.selector.rank("acme", "ferry")
    named = await place.selector.rank("acme", "ferry", frozenset({memory.id}))

    assert ranking.candidates == []
    assert ranking.generalist
    assert ranking.generalist.memory_id == memory.id
    assert [one.serving.memory_id for one in named.candidates] == [memory.id]


async def test_the_texts_of_every_part_count_and_document_names_once(place: Place) -> None:
    memory = a_memory(name="large")
    parts = await place.publish_parts(memory, [FERRY, DAIRY])
    catalog = await place.selector.catalog("acme")
    [serving] = catalog.servings

    assert serving.adapters == parts
    assert [await place.found("ferry"), await place.found("dairy")] == [["large"], ["large"]]
    assert [sum("md" in catalog.published[part].body.words for part in parts)] == [1]


async def test_a_memory_of_which_a_part_is_gone_is_not_chosen(place: Place) -> None:
    parts = await place.publish_parts(a_memory(name="large"), [FERRY, DAIRY])
    (place.root / AdapterName.parse(parts[1]).folder / "manifest.json").unlink()

    assert await place.found("ferry") == []
