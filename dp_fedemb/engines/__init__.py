"""Engines: what runs a round, on TFF's runtime, in this process, or on other machines.

All of them are an `engine.Engine`, and the server's half of a round is the same code.
"""

from dp_fedemb import environment

environment.check()
