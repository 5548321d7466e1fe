"""Centralised training: public starts, supervised or not, and the non-private baseline."""

from dp_fedemb import environment

environment.check()
