"""Rounded weighted sums of normals, against all of them with 400 bits."""

import mpmath
import numpy as np
import pytest
from scipy import stats

from dp_fedemb.aggregation import combined_gaussian

SIZE = 300
WEIGHTS = [1.0, -0.94, 0.05]


def key_of(name):
    return bytes([name]) * 32


def reference(names, weights, stddev, size):
    """The same sums with no float64 in them but for Newton's first step."""
    normals = [combined_gaussian.Normals(key_of(name), size) for name in names]
    result = []
    with mpmath.workprec(400):
        for index in range(size):
            terms = [
                mpmath.mpf(weight) * each.exact(index, 400, 4)
                for weight, each in zip(weights, normals)
            ]
            result.append(int(mpmath.nint(mpmath.mpf(stddev) * sum(terms))))
    return np.array(result)


@pytest.mark.parametrize('stddev', [3.0, 2.0**20 * 1.1, 2.0**34])
def test_sums_are_those_of_exact_normals(stddev):
    draws = combined_gaussian.CombinedDraws(key_of, SIZE)
    expected = reference([3, 2, 1], WEIGHTS, stddev, SIZE)
    np.testing.assert_array_equal(draws.draw([3, 2, 1], WEIGHTS, stddev), expected)


def test_every_sum_the_long_way_is_the_same(monkeypatch):
    plain = combined_gaussian.CombinedDraws(key_of, SIZE).draw([1, 2], [1.0, 0.5], 1e6)
    monkeypatch.setattr(combined_gaussian, '_ERROR', 1.0)
    slow = combined_gaussian.CombinedDraws(key_of, SIZE).draw([1, 2], [1.0, 0.5], 1e6)
    np.testing.assert_array_equal(plain, slow)


def test_errors_of_normals_are_within_the_bound():
    normals = combined_gaussian.Normals(key_of(9), 5000)
    worst = max(
        abs(normals.exact(index, 160, 2) - mpmath.mpf(float(normals.values[index])))
        for index in range(5000)
    )
    assert worst < combined_gaussian._ERROR / 2


def test_the_tail_is_made_exactly(monkeypatch):
    monkeypatch.setattr(combined_gaussian, '_TAIL', 0.5)
    from_tail = combined_gaussian.Normals(key_of(4), 400).values
    monkeypatch.undo()
    plain = combined_gaussian.Normals(key_of(4), 400).values
    np.testing.assert_allclose(from_tail, plain, atol=combined_gaussian._ERROR, rtol=0)
    far = np.abs(plain) > 0.5
    exact = [
        float(combined_gaussian.Normals(key_of(4), 1 + i).exact(i, 400, 4))
        for i in np.flatnonzero(far)[:50].tolist()
    ]
    np.testing.assert_array_equal(from_tail[far][:50], exact)


@pytest.mark.parametrize('stddev', [40.0, 2.0**24])
def test_distribution(stddev):
    found = combined_gaussian.CombinedDraws(key_of, 20_000).draw([5, 6], [0.6, 0.8], stddev)
    assert stats.kstest(found / stddev, 'norm').pvalue > 1e-3
    for factor in (2 / 3, 3 / 2):
        assert stats.kstest(factor * found / stddev, 'norm').pvalue < 1e-6


def test_normals_are_made_once_while_they_are_needed(monkeypatch):
    made = []

    def counting(name):
        made.append(name)
        return key_of(name)

    draws = combined_gaussian.CombinedDraws(counting, 10)
    first = draws.draw([2, 1], [1.0, 0.5], 100.0)
    draws.draw([3, 2], [1.0, 0.5], 100.0)
    assert made == [2, 1, 3]
    np.testing.assert_array_equal(draws.draw([2, 1], [1.0, 0.5], 100.0), first)
    assert made == [2, 1, 3, 1]


def test_a_longer_vector_begins_with_the_shorter():
    short, long = (
        combined_gaussian.CombinedDraws(key_of, size).draw([1], [1.0], 1e4)
        for size in (77, 40_000)
    )
    np.testing.assert_array_equal(short, long[:77])


def test_too_large_sums_are_refused():
    draws = combined_gaussian.CombinedDraws(key_of, 3)
    for stddev in (2.0**36, 0.0):
        with pytest.raises(ValueError, match='expected a product in'):
            draws.draw([1, 2], [1.0, 0.5], stddev)
