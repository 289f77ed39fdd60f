"""The vocabulary of the core as pure data: jobs, runs, hooks, secrets, errors and the clock. No I/O."""
