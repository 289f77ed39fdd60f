"""Looks at everything a daemon needs, and says what is wrong with it and what to do; changes nothing."""
