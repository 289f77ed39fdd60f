"""Retention, backup, restore and the doctor."""
