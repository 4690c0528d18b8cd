"""What staff do, from the click in a browser to the run in a scheduler's process."""
