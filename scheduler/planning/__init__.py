"""What falls due becomes an entry in the ledger and, where it runs, an exec that waits."""
