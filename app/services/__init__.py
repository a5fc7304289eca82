"""Use-cases: remember, answer, erase. Each joins core rules with stores and engines."""
