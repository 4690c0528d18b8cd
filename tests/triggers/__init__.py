"""Tests of the triggers: plain Python, no database, no Django."""
