"""What containers may do, and what is kept secret: decisions and encryption, without a database or an engine."""
