"""The gateway: turns requests into memories and answers. Never imports torch, peft, vllm or workers."""
