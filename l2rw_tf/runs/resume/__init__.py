"""Runs that survive: checkpoints, and what a training depends on."""
