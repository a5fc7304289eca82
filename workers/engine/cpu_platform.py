"""vLLM's CPU platform with LoRA products of our own; vLLM finds it by the entry point `vllm.platform_plugins`."""

from vllm.platforms.cpu import CpuPlatform


class GroupedCpuPlatform(CpuPlatform):  # type: ignore[misc]
    """The CPU, with `workers.engine.cpu_lora`, which can be imported only once the platform is known."""

    @classmethod
    def get_punica_wrapper(cls) -> str:
        """Name the class of the LoRA products."""
        return "workers.engine.cpu_lora.GroupedPunica"
