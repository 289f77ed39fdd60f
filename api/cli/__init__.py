"""The command `timeball`: `serve` starts the daemon, everything else is a client of the API."""
