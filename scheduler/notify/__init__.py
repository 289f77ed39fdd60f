"""Notifications: takes deliveries from the outbox and sends them to webhooks and by mail."""
