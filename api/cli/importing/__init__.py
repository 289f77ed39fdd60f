"""Jobs of other schedulers: what their files say, in the form that `apply` reads, and what cannot be said so. Pure.

One module a format, each a function from text to jobs and notes. Nothing is dropped silently: mappings are read
through `Part`, which makes a note of everything that nobody has asked for.
"""
