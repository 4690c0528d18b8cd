"""Keeps a host in order: the demo's jobs and what they leave in the database."""
