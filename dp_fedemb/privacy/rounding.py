"""Epsilons and deltas for people: rounded up, never down.

A printed bound that is a little below the proven one is false.
"""

import decimal
import math


def rounded_up(value: float, digits: int = 3) -> float:
    """Returns the least number of few digits that is at least `value`.

    >>> rounded_up(0.22948), rounded_up(22.94421), rounded_up(0.000130412), rounded_up(8.0)
    (0.23, 22.945, 0.000131, 8.0)

    Args:
        value: an epsilon or a delta, at least 0; infinity and NaN stay.
        digits: as many decimals, or as many significant digits where that is finer.
    """
    if not math.isfinite(value) or value == 0:
        return value
    # Its shortest text stands for a float, so that what is rounded stays as it is.
    exact = decimal.Decimal(repr(float(value)))
    decimals = max(digits, digits - 1 - exact.adjusted())
    step = decimal.Decimal(1).scaleb(-decimals)
    with decimal.localcontext() as context:
        context.prec = 400
        return float(exact.quantize(step, rounding=decimal.ROUND_CEILING))


def text(value: float, digits: int = 3) -> str:
    """Returns a number as text, rounded up.

    >>> text(22.94421), text(0.000130412), text(math.inf)
    ('22.945', '0.000131', 'inf')
    """
    return repr(rounded_up(float(value), digits)).removesuffix('.0')
