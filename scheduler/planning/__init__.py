"""Turns due times into ledger entries and, if a run is due, into a waiting run."""
