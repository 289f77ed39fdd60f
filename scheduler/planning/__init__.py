"""Turns due times into ledger entries and, where a run is due, into a waiting run."""
