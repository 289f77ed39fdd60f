"""The shapes on the wire, as pydantic models."""
