"""Engine, schema and migrations for SQLite and PostgreSQL."""
