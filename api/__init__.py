"""The doors to Timeball's core: the HTTP API, its client and the command."""
