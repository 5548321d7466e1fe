"""Loaded by each Python program that a test starts: its secret seeds follow from the test.

Python imports a module of this name before the program (PYTHONPATH leads here, see
`tests/conftest.py`). With seeds of the operating system a test would have another verdict on
another day: a small cohort, for one, is sometimes empty.
"""

import importlib.machinery
import os
import sys

_MODULE = 'dp_fedemb.randomness'


def _bare(text: str) -> str:
    """What of an argument or a path is the same on every machine and in every run."""
    import re

    inner = text.rpartition(os.environ['DP_FEDEMB_TEST_ROOT'] + os.sep)[2]
    if inner == text:
        return text.rpartition(os.sep)[2]
    # Below pytest's directory; its names end with a count of those of this worker.
    return re.sub(r'^([^/]*?)\d+(?=/|$)', r'\1', inner)


class _Finder:
    """Replaces the source of secret seeds when its module is loaded."""

    _seeds = None

    def find_spec(self, name, path, target=None):
        if name != _MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.new_secret_seed = self.draw

        spec.loader.exec_module = exec_module
        return spec

    def draw(self) -> int:
        """128 bits that follow from the test and what it started where, and nothing else."""
        if self._seeds is None:
            import random

            words = [*sys.orig_argv[1:], *sys.argv, os.getcwd()]
            self._seeds = random.Random(
                ' '.join([os.environ['DP_FEDEMB_TEST'], *map(_bare, words)])
            )
        return self._seeds.getrandbits(128)


if 'DP_FEDEMB_TEST' in os.environ:
    sys.meta_path.insert(0, _Finder())
