"""The use cases, one module a resource; `scheduler.service` is the door to them.

Each one checks what the caller may do and see, does its work in one transaction, and tells the planner, the
dispatcher or the runner afterwards, so that a change takes effect at once.
"""
