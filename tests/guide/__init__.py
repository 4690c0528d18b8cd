"""The user guide as tests: each names the section whose sentence it holds."""
