"""The form of a job: its fields, what it saves, and what others saved meanwhile."""
