"""What tasks share: the contract, conversions, and the official formats that several read."""
