"""Everything that is stored: tables, migrations and one module per aggregate."""
