"""How long things are kept: retention, backup, restore and the doctor."""
