"""What is printed is never below what is proven, and not far above."""

import hypothesis
from hypothesis import strategies as st
import pytest

from dp_fedemb.privacy import rounding


@hypothesis.settings(max_examples=500)
@hypothesis.given(value=st.floats(1e-300, 1e8), digits=st.integers(1, 6))
def test_rounding_is_up_and_fine(value, digits):
    up = rounding.rounded_up(value, digits)
    assert value <= up <= value + max(10.0 ** (1 - digits) * value, 1e-300)
    assert up - value <= 10.0**-digits * (1 + 1e-6)
    assert float(rounding.text(value, digits)) >= value
    assert rounding.rounded_up(up, digits) == up


@pytest.mark.parametrize(
    'value, text',
    [
        (0.22948, '0.23'),
        (0.5476, '0.548'),
        (17.56875, '17.569'),
        (8.0, '8'),
        (7.9999999, '8'),
        (8.0000001, '8.001'),
        (123456.78912, '123456.79'),
        (1.3041e-4, '0.000131'),
        (2.0001e-12, '2.01e-12'),
        (0.0, '0'),
        (float('inf'), 'inf'),
    ],
)
def test_examples(value, text):
    assert rounding.text(value) == text


def test_rounding_to_the_nearest_would_be_found():
    """The fault that is common: what Python's formats do."""
    assert float(f'{17.56845:.3f}') < 17.56845 <= rounding.rounded_up(17.56845)
