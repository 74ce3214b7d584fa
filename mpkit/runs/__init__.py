"""Runs: a whole attack as one value, how big it is, and what is kept of it on disk."""
