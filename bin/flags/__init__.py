"""Flags that several binaries share, and how a binary starts."""

import pathlib
import sys

# The checkout, so that the modules of this package and those after them find it.
ROOT = pathlib.Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
