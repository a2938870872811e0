"""One run: from its settings to a filled run directory."""
