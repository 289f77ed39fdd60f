"""Checks everything that a daemon needs, and reports what is wrong and what to do; changes nothing."""
