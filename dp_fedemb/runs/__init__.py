"""Runs: an experiment from its data and settings to a model in a directory."""

from dp_fedemb import environment

environment.check()
