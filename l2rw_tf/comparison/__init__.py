"""Comparison of methods over seeds: runs as processes, one table, one figure."""
