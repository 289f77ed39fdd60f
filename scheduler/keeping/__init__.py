"""What is kept, and for how long: clearing away, backup and restore, and the examination of all of it."""
