"""Experiments: flags in, a trained network and a filled run directory out."""
