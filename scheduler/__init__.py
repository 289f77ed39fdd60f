"""The core of Timeball's daemon: schedules jobs, runs them and stores their history. It does not depend on HTTP."""
