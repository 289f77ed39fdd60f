"""Reads the files of other schedulers as jobs for `apply`, with notes on what cannot be imported. Pure.

One module per format, each a function from text to jobs and notes. Nothing is dropped silently: mappings are read
through `Part`, which adds a note for every entry that was not read.
"""
