"""The number format of a base model's weights, for whoever loads them: engines and trainers use the same."""

import torch

from app.settings import Dtype

_NO_BF16 = frozenset({"DEFAULT", "AVX2"})  # of what torch says a CPU can do: its bfloat16 products are a loop there


def uses_cuda(device: str) -> bool:
    """Say whether torch puts a model on a card, for a device of "auto", "cpu" or "cuda"."""
    return device != "cpu" and torch.cuda.is_available()


def pick_dtype(dtype: Dtype, *, on_cuda: bool, capability: str = torch.backends.cpu.get_cpu_capability()) -> Dtype:
    """Return the setting, else bfloat16, or float32 on a CPU that multiplies bfloat16 more slowly.

    Args:
        on_cuda: whether the weights go to a card.
        capability: the CPU's, as torch names it.
    """
    if dtype != "auto":
        return dtype
    return "float32" if not on_cuda and capability in _NO_BF16 else "bfloat16"
