"""The test suite; `python -m tests` runs it on SQLite and on PostgreSQL."""
