"""The daemon as an operating system process: its data directory, memory, metrics and fault points."""
