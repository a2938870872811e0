"""Shared parts of the programs: flags, help, signals and exit codes."""
