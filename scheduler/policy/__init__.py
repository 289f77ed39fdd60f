"""What jobs may ask for: the rules of a definition and the container policy. Pure."""
