"""Flags that several binaries share, and how a binary starts."""
