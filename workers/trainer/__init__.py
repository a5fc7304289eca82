"""The training worker: documents to examples to a LoRA adapter to a published version."""
