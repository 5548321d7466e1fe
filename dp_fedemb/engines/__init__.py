"""Engines: what runs a round, on TFF's runtime, in this process, or on other machines."""
