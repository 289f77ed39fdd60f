"""Decides which waiting run starts next, and explains what the others are waiting for. Pure."""
