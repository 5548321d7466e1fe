"""Correlated noise: strategies C, their error and their sensitivity.

The noise of the rounds is C^-1 Z, Z independent, with a lower-triangular Toeplitz C:
draws of later rounds take back a part of the earlier ones, so that less of it adds up in
the model. One file per family of strategies.
"""
