"""Pure rules on frozen dataclasses. Imports only the standard library and itself; does no I/O."""
