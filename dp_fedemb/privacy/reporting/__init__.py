"""What a plan says of itself to people: statements, extrapolations, signal and noise."""
