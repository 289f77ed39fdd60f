"""The life of a run from waiting to ended: dispatcher, runner and recovery."""
