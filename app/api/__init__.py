"""HTTP endpoints: parse, call one thing, return."""
