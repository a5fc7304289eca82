"""Language guards: what keeps a model answering in the language it was asked in."""
