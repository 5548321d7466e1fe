"""Graphs that a release leaves behind, and how Python finds them in time.

Whatever saves a model leaves graphs of TensorFlow in cycles, about a megabyte even of a tiny
one. Python finds them in a full collection alone, which it puts off until there is a quarter
more of everything than there was after the last one: with TensorFlow loaded, for hundreds of
releases. A collection that leaves out what has been set apart is a matter of milliseconds.
"""

from collections.abc import Iterator
import contextlib
import gc


@contextlib.contextmanager
def only_new() -> Iterator[None]:
    """Lets collections in the block look at nothing that is there before it."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def collect() -> None:
    """Gives back what is left of a release."""
    gc.collect()
