"""Where containers run: the Engine protocol and its implementations."""
