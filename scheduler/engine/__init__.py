"""Where containers run: the Engine protocol, its Docker form and a fake for unit tests."""
