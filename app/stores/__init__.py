"""Redis and the artifact store. Each key prefix is owned by one module; no decisions live here."""
