"""What runs print: captured in compressed chunks, split into lines when read, found by time."""
