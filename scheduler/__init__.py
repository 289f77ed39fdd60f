"""The daemon's core: what is due, what runs, what is remembered. It knows nothing of HTTP."""
