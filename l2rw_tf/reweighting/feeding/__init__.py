"""Training and clean data of any kind that Keras takes, joined into batches."""
