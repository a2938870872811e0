"""Resuming interrupted runs: checkpoints, and the state that a training depends on."""
