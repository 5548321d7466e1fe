"""Installs the `dp_fedemb` library; `tasks/` and `bin/` run from a checkout.

Everything is said in pyproject.toml.
"""

import setuptools

setuptools.setup()
