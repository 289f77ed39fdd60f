"""Notifications: takes deliveries from the outbox and sends them to hooks and by mail."""
