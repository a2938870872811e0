"""Pairs training and clean data, of any kind that Keras accepts, into batches."""
