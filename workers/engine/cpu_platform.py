"""vLLM's CPU platform with LoRA products of our own; vLLM finds it by the entry point `vllm.platform_plugins`.

There vLLM spawns both of its processes, and each imports everything anew. Only the worker must be: OpenMP reads where
its threads belong once, when it is loaded. So the API server forks the scheduler, as on every other platform, and the
scheduler spawns the worker.
"""

import multiprocessing
import os
from typing import Any

from vllm.platforms.cpu import CpuPlatform

_HOW = "VLLM_WORKER_MULTIPROC_METHOD"

os.register_at_fork(after_in_child=lambda: os.environ.update({_HOW: "spawn"}))


class GroupedCpuPlatform(CpuPlatform):  # type: ignore[misc]
    """The CPU, with `workers.engine.cpu_lora`, which can be imported only once the platform is known."""

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        """Adjust vLLM's configuration to CPUs, in any process, and say how this one starts others."""
        super().check_and_update_config(vllm_config)
        if multiprocessing.parent_process() is None:
            os.environ[_HOW] = "fork"

    @classmethod
    def get_punica_wrapper(cls) -> str:
        """Name the class of the LoRA products."""
        return "workers.engine.cpu_lora.GroupedPunica"
