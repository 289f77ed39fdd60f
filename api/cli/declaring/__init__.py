"""Jobs written down in files: how they are read and written, and what a daemon has to change for them. Pure."""
