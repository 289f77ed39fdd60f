"""One module a resource: each turns a request into one call of the service."""
