"""What vLLM asks at its start: whether the platform is ours. Imports nothing heavy, for every vLLM process runs it."""


def platform() -> str | None:
    """Return our platform's class where vLLM runs on a CPU, else None."""
    from vllm.platforms import cpu_platform_plugin  # noqa: PLC0415 - vLLM is being imported when it asks

    return "workers.engine.cpu_platform.GroupedCpuPlatform" if cpu_platform_plugin() else None
