"""A few rounds of a real run, watched from its data to the model on the disk."""
