"""What the programs have in common: flags, help, signals and exit codes."""
