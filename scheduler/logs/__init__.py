"""The output of runs: captured in compressed chunks, split into lines when read, found by time."""
