"""Empirical audits: attacks on our own releases, and what they say of epsilon.

An audit plays the game that the guarantee is about: a secret bit decides about one
user's data, the attacker sees what is released and guesses the bit. How well it guesses
bounds epsilon from BELOW; the accountant bounds it from above. A lower bound above the
claim proves a fault. One below it proves nothing: a better attack may exist.
"""
