"""The `timeball` command: `serve` starts the daemon, and the other commands are clients of the API."""
