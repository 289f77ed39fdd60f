"""Builds parts of the daemon from the settings: engines, and what sends notifications."""
