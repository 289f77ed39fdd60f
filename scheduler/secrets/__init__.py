"""Secrets: the keys they are sealed with, the vault that stores them, and their masking in output."""
