"""The OpenAPI 3.1 document, built from the routes' declarations, and the page that shows it."""
