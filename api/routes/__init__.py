"""One module a resource: each turns a request into one call of the service, and lists its routes at its end."""
