"""Estimators of epsilon: published values, validity where the claim holds, and sharpness.

The golden values are those of jax-privacy 2.0.0, at the level 0.05:

    from jax_privacy import auditing
    auditing._one_run_p_value(m, r, v, 1.0, delta)
    auditing._epsilon_one_run(0.0, m, r, v, 0.05, delta)
    auditing._epsilon_one_run_fdp(0.0, m, r, v, 0.05, max(delta, 1e-6))
    auditing._clopper_pearson_upper(np.array([0, 3, 50, 100]), 100, 0.05)
"""

import json
import math

import numpy as np
import pytest
from scipy import special
from scipy import stats

from dp_fedemb.auditing import estimators
from dp_fedemb.auditing.estimators import estimate as estimate_lib
from dp_fedemb.auditing.estimators import f_dp
from dp_fedemb.auditing.estimators import guessing
from dp_fedemb.auditing.estimators import many_runs
from dp_fedemb.auditing.estimators import trade_off
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis as analysis_lib

# Canaries, guesses, correct, delta -> p-value at epsilon = 1, bounds by guessing and f-DP.
GOLDEN = {
    (1000, 1000, 700, 1e-5): (0.9871627357454777, 0.7317406384658977, 1.3719800500431791),
    (1000, 100, 98, 1e-5): (0.0005996515167432636, 2.7109631340457816, 4.227872933597753),
    (100, 100, 100, 1e-5): (5.633089843197653e-05, 3.4902158675692982, 8.216186103950786),
    (5000, 500, 480, 0.0): (5.861151745557288e-42, 2.7949889913033554, 4.541195533287972),
    (20000, 2000, 1700, 1e-6): (0.0001411588876015534, 1.6300565290443694, 2.468421021884629),
}
SAMPLED = analysis_lib.SampledGaussian('replaced', 0.7, 0.2, 1)
GAUSSIAN = analysis_lib.Gaussian(1.0)


@pytest.mark.parametrize('case', GOLDEN)
def test_golden_values(case):
    *counts, delta = case
    guesses = estimate_lib.Guesses(*counts)
    p_value, by_guessing, by_curve = GOLDEN[case]
    np.testing.assert_allclose(guessing.p_value(guesses, 1.0, delta), p_value, rtol=1e-9)
    np.testing.assert_allclose(
        guessing.lower_bound(guesses, delta, 0.05), by_guessing, atol=2e-6
    )
    claim = estimators.Claim(GAUSSIAN, max(delta, 1e-6))
    found = claim.lowest_epsilon(lambda curve: f_dp.refutes(curve, guesses, 0.05))
    # Ours is on a grid of noises and of tangents, both rounded towards less.
    assert 0.96 * by_curve < found <= by_curve


def test_golden_intervals():
    np.testing.assert_allclose(
        many_runs.upper_rate([0, 3, 50, 100], 100, 0.05),
        [0.02951305, 0.07571079, 0.58637829, 1.0],
        rtol=1e-6,
    )
    np.testing.assert_allclose(many_runs.lower_rate(97, 100, 0.05), 1 - 0.07571079, rtol=1e-6)


@pytest.mark.parametrize('significance', [0.01, 0.2])
def test_intervals_cover_as_often_as_they_say(significance):
    """Exactly, for every probability: the sum over all counts whose interval misses it."""
    counts = np.arange(51)
    ends = many_runs.upper_rate(counts, 50, significance)
    for probability in np.linspace(0.01, 0.99, 33):
        missed = stats.binom.pmf(counts, 50, probability)[ends < probability].sum()
        assert missed <= significance


def test_curve_of_a_gaussian_is_the_closed_form():
    curve = trade_off.of_analysis(analysis_lib.Gaussian(0.5))
    for rate in (1e-4, 0.01, 0.3, 0.7, 0.99):
        exact = float(special.ndtr(special.ndtri(rate) - 2.0))
        # Tangents: never above, which would claim more than is proven.
        assert exact * 0.9 - 1e-6 < curve.inverse(rate) <= exact * (1 + 1e-6)


@pytest.mark.parametrize('kind', ['replaced', 'add_or_remove'])
def test_curve_of_one_round_is_the_accountants(kind):
    analysis = analysis_lib.SampledGaussian(kind, 0.7, 0.2, 1)
    epsilons = np.array([0.0, 0.3, 1.0, 2.0])
    own = trade_off._deltas(analysis, epsilons)
    expected = [accounting.delta(analysis, epsilon) for epsilon in epsilons]
    np.testing.assert_allclose(own, expected, rtol=1e-5)


def play(generator, analysis, games, factor=1.0):
    """Scores and bits of games with `factor` times the noise that is claimed."""
    bits = generator.random(games) < 0.5
    noise = factor * analysis.ratio * generator.standard_normal(games)
    if isinstance(analysis, analysis_lib.Gaussian):
        return bits + noise, bits
    joined = generator.random(games) < analysis.probability
    return joined * np.where(bits, 1.0, -1.0) + noise, bits


def all_estimates(scores, bits, claim, confidence):
    return [
        guessing.estimate(scores, bits, claim, confidence),
        f_dp.estimate(scores, bits, claim, confidence),
        *many_runs.estimates(scores, bits, claim, confidence),
    ]


@pytest.mark.parametrize('analysis', [GAUSSIAN, SAMPLED], ids=['gaussian', 'sampled'])
def test_a_true_claim_is_refuted_as_seldom_as_the_level_says(analysis):
    claim = estimators.Claim(analysis, 1e-5)
    generator = np.random.default_rng(1)
    level, repeats = 0.2, 200
    refuted = np.zeros(3)
    for _ in range(repeats):
        scores, bits = play(generator, analysis, 1000)
        guesses = next(estimate_lib.guesses(scores, bits, [0.1]))
        errors = many_runs._errors(scores[bits], scores[~bits], 1.0)
        refuted += [
            guessing.p_value(guesses, claim.epsilon, claim.delta) <= level,
            f_dp.refutes(claim.curve, guesses, level),
            many_runs.refutes(claim.curve, errors, level),
        ]
    # 40 of 200 are allowed on average; 57 or more have a chance of 2e-3.
    assert np.all(refuted < 57)
    # The last one is no empty test: the claim is nearly attained.
    assert refuted[2] > 0


@pytest.mark.parametrize('analysis', [GAUSSIAN, SAMPLED], ids=['gaussian', 'sampled'])
def test_a_true_claim_raises_no_alarm(analysis):
    claim = estimators.Claim(analysis, 1e-5)
    generator = np.random.default_rng(7)
    for _ in range(5):
        for each in all_estimates(*play(generator, analysis, 2000), claim, 0.95):
            assert each.lower < claim.epsilon and not each.alarm


@pytest.mark.parametrize('analysis', [GAUSSIAN, SAMPLED], ids=['gaussian', 'sampled'])
def test_missing_noise_is_seen(analysis):
    claim = estimators.Claim(analysis, 1e-5)
    scores, bits = play(np.random.default_rng(2), analysis, 20_000, factor=0.4)
    by_name = {each.estimator: each for each in all_estimates(scores, bits, claim, 0.95)}
    for name in (f_dp.NAME, many_runs.NAME_OF_CURVE):
        assert by_name[name].lower > claim.epsilon and by_name[name].alarm, name


def test_bounds_come_near_the_claim():
    claim = estimators.Claim(GAUSSIAN, 1e-5)
    games = play(np.random.default_rng(3), GAUSSIAN, 200_000)
    assert 0.9 < many_runs.estimates(*games, claim, 0.95)[1].tightness < 1
    one_run = f_dp.estimate(*games, claim, 0.95)
    assert 0.5 < one_run.tightness < 1
    # Guessing is looser by nature, and the point estimate is above the bound.
    assert guessing.estimate(*games, claim, 0.95).lower < one_run.lower < one_run.epsilon


def test_nothing_to_see_is_no_epsilon():
    generator = np.random.default_rng(4)
    bits = generator.random(5000) < 0.5
    for each in all_estimates(generator.standard_normal(5000), bits, CLAIM, 0.99):
        assert each.lower == 0 and not each.alarm


CLAIM = estimators.Claim(GAUSSIAN, 1e-5)


def test_randomized_response_is_met_exactly():
    """A mechanism for which guessing is tight: each bit is told truly with e / (1 + e)."""
    generator = np.random.default_rng(5)
    bits = generator.random(100_000) < 0.5
    told = np.where(generator.random(len(bits)) < special.expit(1.0), bits, ~bits)
    found = guessing.estimate(told + 0.01 * generator.random(len(bits)), bits, CLAIM, 0.95)
    assert 0.9 < found.lower <= 1.0
    assert abs(found.epsilon - 1.0) < 0.05


def test_more_correct_guesses_never_lower_a_bound():
    for made in (1, 7, 40):
        for refuted in (
            lambda guesses: guessing.lower_bound(guesses, 1e-5, 0.05),
            lambda guesses: CLAIM.lowest_epsilon(
                lambda curve: f_dp.refutes(curve, guesses, 0.05)
            ),
        ):
            bounds = [
                refuted(estimate_lib.Guesses(50, made, correct)) for correct in range(made + 1)
            ]
            assert bounds == sorted(bounds) and bounds[0] == 0


def test_guesses_count_what_they_say():
    scores = [0.1, 0.9, 0.5, 0.7, 0.2]
    bits = [False, True, False, True, True]
    found = list(estimate_lib.guesses(scores, bits, [0.2, 0.4, 0.8, 1.0]))
    # The highest is a one; the lowest a zero; the second lowest is a one, guessed wrong.
    assert [(each.made, each.correct) for each in found] == [(1, 1), (2, 2), (4, 3), (5, 3)]


def test_without_a_claim_there_is_a_bound_but_no_alarm():
    claim = estimators.Claim(GAUSSIAN, 1e-5, private=False)
    scores, bits = play(np.random.default_rng(6), analysis_lib.Gaussian(0.2), 2000)
    for each in all_estimates(scores, bits, claim, 0.95):
        assert each.lower > 1 and not each.alarm and math.isinf(each.claimed)
        values = json.loads(json.dumps(each.to_json()))
        assert values['claimed'] is None and values['tightness'] is None


@pytest.mark.parametrize(
    'scores, bits, match',
    [
        ([0.0, math.nan], [True, False], 'NaN'),
        ([], [], 'at least one canary'),
        ([1.0], [True, False], 'one of each'),
    ],
)
def test_bad_scores_are_refused(scores, bits, match):
    with pytest.raises(ValueError, match=match):
        guessing.estimate(scores, bits, CLAIM, 0.95)


def test_too_few_games_are_refused():
    with pytest.raises(ValueError, match='at least four'):
        many_runs.estimates(np.arange(6.0), [True] * 5 + [False], CLAIM, 0.95)
