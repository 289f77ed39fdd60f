"""The HTTP server around the routes: application, authentication, hardening, TLS and logging."""
