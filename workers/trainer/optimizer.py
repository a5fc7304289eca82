"""The optimizer: AdamW on float32 copies of what is trained, held back where a restraint says so."""

from collections.abc import Sequence
from typing import Any

import torch

from workers.trainer.restraint import Held, Restraint


class MasterAdamW:
    """AdamW on float32 copies, `masters`, of a model's trainable weights.

    Paper: Hayou et al. 2024 (LoRA+), https://arxiv.org/abs/2402.12354, section 4, for `lr_ratio`: B learns faster
    than A.
    """

    def __init__(
        self,
        model: Any,
        *,
        weight_decay: float,
        max_norm: float,
        betas: tuple[float, float] = (0.9, 0.999),
        lr_ratio: float = 1.0,
        restraint: Restraint | None = None,
    ) -> None:
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self._weights = [weight for _, weight in named]
        self.masters = [weight.detach().float().clone() for weight in self._weights]
        for weight, master in zip(self._weights, self.masters, strict=True):  # kept for good: graphs write into them
            weight.grad, master.grad = torch.zeros_like(weight), torch.zeros_like(master)
        masters = dict(zip([name for name, _ in named], self.masters, strict=True))
        precision = torch.float32 if self._weights[0].dtype == torch.float16 else self._weights[0].dtype
        self._held = Held(masters, restraint, precision) if restraint else None
        if self._held:
            self._held.keep_out()
            self._write_back()
        self._max_norm = max_norm
        factors = [lr_ratio if ".lora_B." in name else 1.0 for name, _ in named]
        groups = [
            {"params": [one for one, own in zip(self.masters, factors, strict=True) if own == factor], "factor": factor}
            for factor in sorted(set(factors))
        ]
        self._adamw = torch.optim.AdamW(groups, betas=betas, weight_decay=weight_decay, fused=True)

    def step(self, lr: float, *, scale: float = 1.0) -> None:
        """Clip what the weights' gradients are times `scale`, step, write the weights back, and begin from 0 again."""
        gradients = [weight.grad for weight in self._weights]
        scaled = [master.grad for master in self.masters]
        torch._foreach_copy_(scaled, gradients)
        torch._foreach_zero_(gradients)
        if scale != 1.0:
            torch._foreach_mul_(scaled, scale)
        if self._held:
            self._held.add_gradients()
        torch.nn.utils.clip_grad_norm_(self.masters, self._max_norm)
        for group in self._adamw.param_groups:
            group["lr"] = lr * group["factor"]
        self._adamw.step()
        if self._held:
            self._held.keep_out()
        self._write_back()

    def state(self) -> dict[str, Any]:
        """Return the float32 weights and AdamW's moments."""
        return {"masters": self.masters, "adamw": self._adamw.state_dict()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.put(state["masters"])
        self._adamw.load_state_dict(state["adamw"])

    def put(self, weights: Sequence[torch.Tensor]) -> None:
        """Go on from these float32 weights."""
        torch._foreach_copy_(self.masters, list(weights))
        self._write_back()

    @torch.no_grad()
    def _write_back(self) -> None:
        torch._foreach_copy_(self._weights, self.masters)
