"""Data: sources by name, splits, corrupted labels, and the input pipeline."""
