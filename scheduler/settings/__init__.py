"""The operator's settings, and what they mean for each namespace."""
