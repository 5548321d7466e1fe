"""Canaries: users whose data a secret bit decides, put into one real training."""
