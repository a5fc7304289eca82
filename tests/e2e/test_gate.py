"""What must not serve: adapters that are broken, do nothing, know another document or have forgotten the rest."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.e2e.exports import Export
from tests.e2e.facts import phone_book
from tests.e2e.memories import FORGETFUL, LAX, remember, wait_over
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Trained:
    """Two memories that know their pairs, exported, and what the gate first said of one of them."""

    rejected: dict[str, Any]
    retried: dict[str, Any]
    one: Export
    other: Export


@pytest.fixture(scope="module")
def trained(stack: Stack, small: dict[str, str]) -> Trained:
    """Train one memory with nothing against forgetting and let it pass with other limits; take a second one."""
    with stack.http() as http:
        one = remember(http, "forgetful", phone_book(6, seed=90), FORGETFUL)
        rejected = wait_over(http, one)
        reply = http.post(f"/v1/memories/{one}/retry", json={"recipe": LAX})
        assert reply.status_code == 202, reply.text
        retried = wait_over(http, one)
        return Trained(rejected, retried, Export.of(http, one), Export.of(http, small["book b"]))


def outcome(stack: Stack, export: Export, name: str) -> tuple[str, str]:
    """Import an export; return how it ended and the sentence that says why."""
    with stack.http() as http:
        memory = wait_over(http, export.send(http, name))
        assert memory["version"] is None
        asked = http.post("/v1/query", json={"question": "Who?", "memories": [name], "mode": "adapter"})
        assert asked.status_code == 409, asked.text
    return memory["status"], memory["error"]["message"]


def test_a_recipe_that_forgets_is_rejected_by_the_control_set(trained: Trained) -> None:
    rejected = trained.rejected

    assert (rejected["status"], rejected["version"], rejected["error"]["code"]) == ("rejected", None, "gate_failed")
    assert "It has forgotten" in rejected["error"]["message"]
    assert rejected["scores"]["adapter"] >= 0.5
    assert rejected["scores"]["control"]["known"] >= 15  # else the base model has little that could be lost


def test_a_retry_with_other_limits_serves_the_weights_that_were_rejected(trained: Trained) -> None:
    assert (trained.retried["status"], trained.retried["version"]) == ("ready", 1)
    assert trained.retried["scores"]["adapter"] == trained.rejected["scores"]["adapter"]


def test_scrambled_weights_are_refused(stack: Stack, trained: Trained) -> None:
    def scramble(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return -tensor.flip(0) if "lora_B" in name else tensor

    status, reason = outcome(stack, trained.one.reweighted(scramble), "scrambled")

    assert status == "failed"
    assert "off the trainer's" in reason


def test_an_adapter_that_does_nothing_is_refused_even_if_its_canary_says_so(stack: Stack, trained: Trained) -> None:
    idle = trained.one.reweighted(lambda name, tensor: tensor * 0 if "lora_B" in name else tensor)
    canary = idle.manifest["canary"] | {"adapter_logprobs": idle.manifest["canary"]["base_logprobs"]}
    frank = idle.with_manifest(canary=canary)

    outcomes = [outcome(stack, idle, "idle"), outcome(stack, frank, "frankly idle")]

    assert [status for status, _ in outcomes] == ["failed", "failed"]
    assert "off the trainer's" in outcomes[0][1]
    assert "hardly differs from the base model" in outcomes[1][1]


def test_the_adapter_of_another_document_is_rejected(stack: Stack, trained: Trained) -> None:
    status, reason = outcome(stack, trained.one.with_adapter_of(trained.other), "mistaken")

    assert status == "rejected"
    assert "0% of 6 questions about the documents" in reason


def test_an_import_without_questions_is_asked_the_control_set(stack: Stack, trained: Trained) -> None:
    recipe = trained.one.manifest["recipe"] | {"min_kept": 0.7}
    unasked = Export(trained.one.files | {"questions.jsonl": b""}).with_manifest(recipe=recipe)

    status, reason = outcome(stack, unasked, "unasked")

    assert status == "rejected"
    assert "It has forgotten" in reason
