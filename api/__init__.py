"""The doors to the core: the HTTP API, its client and the command."""
