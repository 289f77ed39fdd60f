"""What is remembered: tables, one module an aggregate, and the migrations."""
