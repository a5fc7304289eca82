"""One vLLM server: its start-up, the guard in front of it and the agent beside it."""
