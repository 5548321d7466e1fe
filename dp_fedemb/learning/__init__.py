"""The algorithm: what a virtual client does, and the learning process around it."""
