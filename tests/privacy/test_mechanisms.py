"""What mechanisms cost, derived again, and what they refuse."""

import math

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import sensitivity

ADAPTIVE = privacy.AdaptiveGaussian(1.0, 1.2, clipped_count_stddev=2.0)
CHANGES = (sensitivity.REMOVED, sensitivity.EMPTIED, sensitivity.REPLACED)


@pytest.mark.parametrize('change', CHANGES)
def test_adaptive_clip_costs_both_of_its_sums(change):
    """Whitened, one round is a Gaussian shifted by the update's part and the count's."""
    shift = math.hypot(
        change.update / ADAPTIVE.sum_noise_multiplier,
        change.count / ADAPTIVE.clipped_count_stddev,
    )
    assert 1 / ADAPTIVE.noise_over_sensitivity(change) == pytest.approx(shift)


def test_split_of_the_noise_is_that_of_the_paper():
    """Andrew et al. (2019), Theorem 1: z against a record that disappears is as stated."""
    assert ADAPTIVE.noise_over_sensitivity(sensitivity.REMOVED) == pytest.approx(1.2)
    assert ADAPTIVE.noise_over_sensitivity(sensitivity.REPLACED) == pytest.approx(0.6)
    assert ADAPTIVE.sum_noise_multiplier == pytest.approx((1.2**-2 - 4.0**-2) ** -0.5)
    assert ADAPTIVE.sum_noise_multiplier > 1.2
    # A record that becomes zero counts as unclipped: dearer than one that disappears.
    emptied = ADAPTIVE.noise_over_sensitivity(sensitivity.EMPTIED)
    assert 0.6 < emptied < 1.2


def test_count_noise_follows_from_the_cohort():
    assert privacy.AdaptiveGaussian(1.0, 1.0).for_cohort(100).clipped_count_stddev == 5
    assert privacy.TreeAdaptive(1.0, 1.0, 8).for_cohort(100).clipped_count_stddev == 5
    assert ADAPTIVE.for_cohort(100) == ADAPTIVE
    with pytest.raises(ValueError, match='take the mechanism from a PrivacyPlan'):
        _ = privacy.AdaptiveGaussian(1.0, 1.0).sum_noise_multiplier


def test_too_small_a_cohort_is_refused_with_the_smallest_that_works():
    mechanism = privacy.AdaptiveGaussian(1.0, 1.2)
    with pytest.raises(ValueError, match='expected at least 13 virtual clients a round'):
        mechanism.for_cohort(12)
    assert mechanism.for_cohort(13).sum_noise_multiplier > 1.2


def test_tree_adaptive_pays_for_the_counts_on_top_of_the_tree(make_plan):
    """k = 2: a user moves each node by 2C per visit, and each of its counts by one."""
    counts = privacy.TreeAdaptive(1.0, 3.0, restart_rounds=4, clipped_count_stddev=1.5)
    tree = privacy.Tree(1.0, 3.0, restart_rounds=4)
    plans = [make_plan(mechanism, num_users=64) for mechanism in (counts, tree)]
    participations = 4  # 16 rounds, epochs of 64 / (8 * 2) rounds.
    extra = 0.5 * participations / 1.5**2
    assert plans[0].zcdp_rho() == pytest.approx(plans[1].zcdp_rho() + extra)


def test_tree_that_restarts_every_round_is_the_gaussian(make_plan):
    sampling = privacy.MinSeparation()
    tree = make_plan(privacy.Tree(1.0, 3.0, restart_rounds=1), sampling=sampling)
    gaussian = make_plan(privacy.Gaussian(1.0, 3.0), sampling=sampling)
    assert tree.zcdp_rho() == pytest.approx(gaussian.zcdp_rho())
    assert tree.epsilon() == pytest.approx(gaussian.epsilon())


@pytest.mark.parametrize('name', sorted(privacy.MECHANISMS))
def test_scaling_multiplies_all_noise(make_plan, name):
    mechanism = make_plan(name).mechanism
    scaled = mechanism.scaled(3.0)
    assert scaled.sum_noise_multiplier == pytest.approx(3 * mechanism.sum_noise_multiplier)
    assert scaled.clip_norm == mechanism.clip_norm
    if hasattr(mechanism, 'clipped_count_stddev'):
        assert scaled.clipped_count_stddev == 3 * mechanism.clipped_count_stddev


@pytest.mark.parametrize(
    'build, message',
    [
        (
            lambda: privacy.Gaussian(-1.0, 1.0),
            'clip_norm=-1.0: expected a number of at least 1e-09',
        ),
        (lambda: privacy.Gaussian(math.nan, 1.0), 'clip_norm=nan'),
        (lambda: privacy.Gaussian(1.0, -1.0), 'noise_multiplier=-1.0'),
        (lambda: privacy.Gaussian(1.0, math.nan), 'noise_multiplier=nan'),
        (lambda: privacy.Gaussian(1.0, math.inf), 'noise_multiplier=inf'),
        (lambda: privacy.Gaussian(noise_multiplier=1.0), 'noise_multiplier=1.0 without clip'),
        (lambda: privacy.Gaussian(1.0), 'both must be positive and finite'),
        (lambda: privacy.ClipOnly(), 'expected a finite clip and no noise'),
        (lambda: privacy.ClipOnly(1.0, 1.0), 'expected a finite clip and no noise'),
        (lambda: privacy.NoPrivacy(1.0), 'it neither clips nor noises'),
        (lambda: privacy.Tree(1.0, 1.0, restart_rounds=0), 'restart_rounds=0'),
        (
            lambda: privacy.Tree(1.0, 1.0, tree_completion=True),
            'tree_completion=True without restart_rounds',
        ),
        (lambda: privacy.TreeAdaptive(1.0, 1.0), 'tree_adaptive without restart_rounds'),
        (
            lambda: privacy.AdaptiveGaussian(1.0, 1.0, clipped_count_stddev=0.5),
            'the count alone would cost more than z allows',
        ),
        (
            lambda: privacy.AdaptiveGaussian(1.0, 1.0, target_unclipped_quantile=1.5),
            'target_unclipped_quantile=1.5: expected a number of at least 0 and at most 1',
        ),
        (
            lambda: privacy.AdaptiveGaussian(1.0, 1.0, adaptive_clip_learning_rate=0.0),
            'adaptive_clip_learning_rate=0.0',
        ),
    ],
)
def test_senseless_fields_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
