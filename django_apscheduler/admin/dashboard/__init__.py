"""The dashboard: what is wrong, what comes, how it went."""
