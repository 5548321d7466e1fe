"""The progress bar of conversions."""

import sys

import tqdm


def bar(total: int, description: str, unit: str) -> tqdm.tqdm:
    """Returns a progress bar on standard error; a line each half minute in a log."""
    terminal = sys.stderr.isatty()
    return tqdm.tqdm(
        total=total,
        desc=description,
        unit=unit,
        leave=not terminal,
        mininterval=0.2 if terminal else 30,
    )
