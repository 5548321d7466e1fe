"""Centralised training: public starts, supervised or not, and the non-private baseline."""
