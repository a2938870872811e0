"""Methods side by side over seeds: runs as processes, one table, one figure."""
