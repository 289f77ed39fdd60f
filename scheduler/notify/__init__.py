"""Who is told: deliveries to hooks and by mail, from the outbox to an answer."""
