"""One module per resource: each turns a request into one call of the service."""
