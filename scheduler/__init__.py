"""The daemon's core: schedules jobs, runs them and stores their history. It does not depend on HTTP."""
