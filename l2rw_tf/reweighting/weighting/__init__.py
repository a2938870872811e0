"""Step 3 of the method: from the meta-gradient to the weights of the examples."""
