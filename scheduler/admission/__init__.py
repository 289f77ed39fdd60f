"""Which waiting run starts next, and what the others are waiting for. Pure."""
