"""The operator's settings, and the settings that apply to each namespace."""
