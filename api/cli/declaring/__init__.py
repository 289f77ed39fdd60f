"""Jobs declared in files: reads and writes the files, and plans the changes that a daemon needs. Pure."""
