"""Exact draws: of the right distribution, and the long way where float64 cannot tell."""

import time

import mpmath
import numpy as np
import pytest
from scipy import special
from scipy import stats

from dp_fedemb.aggregation import rounded_gaussian

KEY = bytes(range(32))


def exact_inverse(magnitude):
    """Inverse normal of (magnitude + 1/2) / 2^64 with 200 bits."""
    with mpmath.workprec(200):
        uniform = (mpmath.mpf(magnitude) + 0.5) / mpmath.mpf(2) ** 64
        return mpmath.sqrt(2) * mpmath.erfinv(2 * uniform - 1)


def test_error_of_the_inverse_in_float64():
    """What the exactness of the draws rests on; the guard is 16 times wider."""
    generator = np.random.default_rng(0)
    magnitudes = [int(word) for word in generator.integers(0, 2**63, 400, np.uint64)]
    # The tail up to 5, and both sides of zero, where the formula changes too.
    magnitudes += [int(2**63 * np.exp(-t)) for t in np.linspace(0, 14.2, 400)]
    magnitudes += [2**63 - 1 - 2**bits for bits in range(62)]
    worst = 0.0
    for magnitude in magnitudes:
        found = special.ndtri((float(magnitude) + 0.5) * 2.0**-64)
        assert found > -rounded_gaussian._TAIL
        worst = max(worst, abs(float(mpmath.mpf(float(found)) - exact_inverse(magnitude))))
    assert 2.0**-55 < worst < 2.0**-47
    # The guard holds that error, half a step of the words at the end of the tail, and
    # the rounding of the product in grid units.
    step = 2.0**-65 / stats.norm.pdf(rounded_gaussian._TAIL)
    assert 2.0**-47 + step + 8 * 2.0**-53 < rounded_gaussian._GUARD


@pytest.mark.parametrize('stddev', [0.3, 1.0, 3.0])
def test_probabilities_of_small_integers(stddev):
    draws = rounded_gaussian.draw(KEY, stddev, 400_000)
    edges = np.arange(-40, 41)
    probabilities = np.diff(stats.norm.cdf((np.arange(-40, 42) - 0.5) / stddev))
    expected = 400_000 * probabilities
    counts = np.array([np.sum(draws == integer) for integer in edges])
    often = expected > 20
    assert np.sum(counts[~often]) <= 5 * expected[~often].sum() + 20
    rest = 400_000 - counts[often].sum(), 400_000 - expected[often].sum()
    statistic = np.sum((counts[often] - expected[often]) ** 2 / expected[often])
    if rest[1] > 1:
        statistic += (rest[0] - rest[1]) ** 2 / rest[1]
    assert stats.chi2.sf(statistic, often.sum()) > 1e-3


def test_size_and_its_power():
    draws = rounded_gaussian.draw(KEY, 2.0**20, 200_000)
    assert stats.kstest(draws, 'norm', (0, 2.0**20)).pvalue > 1e-3
    for factor in (0.99, 1.01):
        assert stats.kstest(draws, 'norm', (0, factor * 2.0**20)).pvalue < 1e-2


def test_every_draw_is_the_rounding_of_the_exact_inverse():
    stddev, size = 2.0**20, 400
    words = rounded_gaussian.words(KEY, 0, size)
    for index, (word, drawn) in enumerate(
        zip(words, rounded_gaussian.draw(KEY, stddev, size), strict=True)
    ):
        long_way = rounded_gaussian._exact(KEY, int(word) >> 1, index, stddev)
        assert drawn == (long_way if int(word) & 1 else -long_way)


def test_unsure_draws_go_the_long_way(monkeypatch):
    """With a guard that covers everything, all of them do, and the result is the same."""
    stddev = 2.0**22
    expected = rounded_gaussian.draw(KEY, stddev, 300)
    taken = []
    intact = rounded_gaussian._exact
    monkeypatch.setattr(
        rounded_gaussian, '_exact', lambda *given: taken.append(given[2]) or intact(*given)
    )
    monkeypatch.setattr(rounded_gaussian, '_GUARD', 1.0)
    np.testing.assert_array_equal(rounded_gaussian.draw(KEY, stddev, 300), expected)
    assert taken == list(range(300))
    # And the tail: its words say little, so that further bits decide.
    monkeypatch.setattr(rounded_gaussian, '_TAIL', 0.0)
    monkeypatch.setattr(rounded_gaussian, '_GUARD', 2.0**-43)
    np.testing.assert_array_equal(rounded_gaussian.draw(KEY, stddev, 300), expected)
    assert len(taken) == 600


def test_further_bits_spread_the_last_step_of_the_words():
    # The lowest word alone: without them all of these draws would be the same.
    values = {rounded_gaussian._exact(KEY, 0, index, 2.0**20) for index in range(50)}
    assert len(values) == 50
    # The median of the normal below the 2^-64 quantile is at -9.1.
    assert -9.3 < np.median(list(values)) / 2.0**20 < -9.0


def test_draws_follow_from_the_key_alone(monkeypatch):
    whole = rounded_gaussian.draw(KEY, 1000.0, 100_000)
    np.testing.assert_array_equal(rounded_gaussian.draw(KEY, 1000.0, 40_000), whole[:40_000])
    monkeypatch.setattr(rounded_gaussian, '_CHUNK', 1 << 10)
    np.testing.assert_array_equal(rounded_gaussian.draw(KEY, 1000.0, 100_000), whole)
    other = rounded_gaussian.draw(KEY[::-1], 1000.0, 100_000)
    assert abs(np.corrcoef(whole, other)[0, 1]) < 0.02
    for lag in (1, 2, 1 << 15):
        assert abs(np.corrcoef(whole[lag:], whole[:-lag])[0, 1]) < 0.02


@pytest.mark.parametrize('stddev', [0.0, -1.0, np.nan, np.inf, 2.0**35])
def test_standard_deviations_out_of_range(stddev):
    with pytest.raises(ValueError, match=r'stddev=.*: expected a number in \(0, 2\*\*34\]'):
        rounded_gaussian.draw(KEY, stddev, 3)


def test_short_keys_are_refused():
    with pytest.raises(ValueError, match='key of 16 bytes: expected 32'):
        rounded_gaussian.draw(bytes(16), 1.0, 3)


def test_all_threads_have_the_precision_that_draws_need(monkeypatch):
    """mpmath's is one for all threads, and one that is done takes its own back."""
    seen, intact = [], rounded_gaussian._inverse_normal

    def watched(uniform):
        seen.append(mpmath.mp.prec)
        time.sleep(1e-3)
        seen.append(mpmath.mp.prec)
        return intact(uniform)

    monkeypatch.setattr(rounded_gaussian, '_inverse_normal', watched)
    rounded_gaussian.draw(KEY, 2.0**33, 80_000)
    assert len(seen) > 60 and set(seen) == {400}
