"""Fixtures of the whole suite. The database is real PostgreSQL: embedded, or DATABASE_URL's."""
