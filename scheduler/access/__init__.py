"""Who may do what: callers and roles, tokens, passwords, throttles and the audit."""
