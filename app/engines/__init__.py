"""How the gateway and the trainer talk to engines."""
