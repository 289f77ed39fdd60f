"""Storage: tables, migrations, and one module per aggregate."""
