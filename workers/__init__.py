"""Processes that run beside the gateway: engines and trainers."""
