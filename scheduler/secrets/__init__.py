"""Secrets: the keys that seal them, the vault that stores them, and their masking in output."""
