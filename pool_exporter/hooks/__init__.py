"""Everything that touches SQLAlchemy's pools. Nothing here raises into the application."""
