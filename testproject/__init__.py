"""A small real project: the demo, and the ground of manual and browser tests."""
