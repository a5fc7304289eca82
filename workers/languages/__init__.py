"""Language guards: a LoRA trained with TLPO that keeps answers in one language."""
