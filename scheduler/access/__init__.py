"""Access control: callers and roles, tokens, passwords, throttling and the audit log."""
