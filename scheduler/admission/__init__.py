"""Admission: who of those that wait starts next, and what the others wait for. Pure."""
