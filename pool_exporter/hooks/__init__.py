"""All code that touches SQLAlchemy's pools. Nothing in this wing raises into the application."""
