"""The use cases, one module per resource; `scheduler.service` provides access to them.

Each use case checks what the caller may do and see, works in one transaction, and then notifies the planner, the
dispatcher or the runner, so that a change takes effect immediately.
"""
