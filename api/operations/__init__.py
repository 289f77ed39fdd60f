"""What a route declares about itself: operation, parameters, tags and examples."""
