"""LoRA products on CPU engines: those of vLLM's own kernels, and nothing for rows without an adapter."""

import multiprocessing
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vllm.config import VllmConfig
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.utils.system_utils import get_mp_context

from workers.engine.cpu_lora import GroupedPunica
from workers.engine.cpu_platform import GroupedCpuPlatform
from workers.engine.cpu_plugin import platform

SLOTS, RANK, WIDTH, OUT = 4, 8, 24, (16, 8)  # the last slot stays empty, as the engine's command sees to


def wrapper(kind: type[PunicaWrapperCPU], owners: list[int], *, is_prefill: bool) -> PunicaWrapperCPU:
    """Return a wrapper that was told which adapter, from 1, each row belongs to; 0 is none."""
    made = kind(64, 64, torch.device("cpu"))
    mapping: Any = SimpleNamespace(index_mapping=tuple(owners), prompt_mapping=tuple(owners), is_prefill=is_prefill)
    made.update_metadata(mapping, [1, 2, 3, None], SLOTS, 100)
    return made


def weights(seed: int, *, dtype: torch.dtype = torch.float32) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Return A and B of every slot, for each of the outputs."""
    made = torch.Generator().manual_seed(seed)
    a = tuple(torch.randn(SLOTS, 1, RANK, WIDTH, generator=made).to(dtype) for _ in OUT)
    b = tuple(torch.randn(SLOTS, 1, out, RANK, generator=made).to(dtype) for out in OUT)
    for one in (*a, *b):
        one[-1] = 0
    return a, b


def linear(kind: type[PunicaWrapperCPU], owners: list[int], *, is_prefill: bool, seed: int = 0) -> torch.Tensor:
    """Return what is added to a batch's outputs."""
    (a, b), x = weights(seed), torch.randn(len(owners), WIDTH, generator=torch.Generator().manual_seed(seed + 1))
    y = torch.zeros(len(owners), sum(OUT))
    wrapper(kind, owners, is_prefill=is_prefill).add_lora_linear(y, x, a, b, 0.5, OUT)
    return y


@given(st.lists(st.integers(0, 3), min_size=1, max_size=32), st.booleans(), st.integers(0, 99))
def test_products_are_those_of_vllms_own_kernels(owners: list[int], is_prefill: bool, seed: int) -> None:
    ours, theirs = (
        linear(kind, owners, is_prefill=is_prefill, seed=seed) for kind in (GroupedPunica, PunicaWrapperCPU)
    )

    torch.testing.assert_close(ours, theirs)
    assert not ours[[owner == 0 for owner in owners]].any()


def test_rows_without_an_adapter_are_left_alone_even_if_the_last_slot_is_taken() -> None:
    (a, b), x, y = weights(0), torch.randn(3, WIDTH), torch.zeros(3, sum(OUT))
    for one in (*a, *b):
        one[-1] = 1
    wrapper(GroupedPunica, [0, 2, 0], is_prefill=True).add_lora_linear(y, x, a, b, 0.5, OUT)

    assert not y[[0, 2]].any()
    assert y[1].any()


@pytest.mark.parametrize("head", [0.0, 1.0])
def test_an_output_head_counts_where_there_is_one(head: float) -> None:
    logits, x = torch.zeros(2, 50), torch.randn(2, WIDTH)
    a, b = torch.randn(SLOTS, 1, RANK, WIDTH), torch.full((SLOTS, 1, 50, RANK), head)
    wrapper(GroupedPunica, [1, 2], is_prefill=False).add_lora_logits(logits, x, a, b, 1.0)

    assert bool(logits.any()) is bool(head)


def test_vllm_finds_the_platform_and_the_platform_its_products() -> None:
    [found] = entry_points(group="vllm.platform_plugins", name="lorekeep")

    assert found.load() is platform
    assert platform() in (None, f"{GroupedCpuPlatform.__module__}.{GroupedCpuPlatform.__name__}")
    assert GroupedCpuPlatform.get_punica_wrapper() == f"{GroupedPunica.__module__}.{GroupedPunica.__name__}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what vLLM imports for a configuration
@pytest.mark.skipif(platform() is None, reason="vLLM is not the one for CPUs")
def test_a_server_forks_its_scheduler_and_the_scheduler_spawns_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # so that what is set here is undone
    VllmConfig()
    server = get_mp_context()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    scheduler = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(how_it_starts_others()))
    scheduler.start()
    scheduler.join()

    assert (server.get_start_method(), ours.recv()) == ("fork", ["spawn", "spawn"])


def how_it_starts_others() -> list[str]:
    """Return how this process starts others, before and after it has read a configuration."""
    before = get_mp_context().get_start_method()
    VllmConfig()
    return [before, get_mp_context().get_start_method()]
