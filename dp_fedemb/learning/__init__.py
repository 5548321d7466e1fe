"""The algorithm: what a virtual client does, and the learning process around it."""

from dp_fedemb import environment

environment.check()
