"""The plan: what it derives, what it refuses, and how epsilon moves with its fields."""

import dataclasses
import json
import math

import hypothesis
from hypothesis import strategies as st
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy import relations


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'mechanism': 'gaussian'}, "mechanism='gaussian': expected an instance of .*Gaussian"),
        ({'mechanism': None}, 'mechanism=None: expected'),
        ({'mechanism': privacy.Gaussian}, 'mechanism=<class .*: expected'),
        ({'sampling': 'poisson'}, "sampling='poisson': expected an instance of .*Poisson"),
        ({'sampling': privacy.Gaussian(1.0, 1.0)}, 'sampling=Gaussian.*: expected'),
    ],
)
def test_names_are_no_mechanisms(make_plan, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_plan('gaussian'), **changes)


@pytest.mark.parametrize(
    'sampling, k, sensitivity, relation, other, other_relation',
    [
        (privacy.Poisson(), 1, 2.0, 'REPLACED', 1.0, 'VOID'),
        (privacy.Poisson(), 2, 2.0, 'REPLACED', 1.0, 'VOID'),
        (privacy.MinSeparation(), 1, 2.0, 'REPLACED', 1.0, 'VOID'),
        (privacy.MinSeparation(), 2, 2.0, 'REPLACED', 1.0, 'VOID'),
        (privacy.Poisson('slots'), 1, 1.0, 'ADDED_OR_REMOVED', 1.0, 'RETRAINED'),
        (privacy.Poisson('slots'), 2, 2.0, 'ADDED_OR_REMOVED', 2.0, 'RETRAINED'),
        (privacy.FixedSize(), 1, 2.0, 'REPLACED', 2.0, 'RETRAINED'),
        (privacy.FixedSize(), 2, 2.0, 'REPLACED', 2.0, 'RETRAINED'),
        (privacy.MinSeparation(grouping='slots'), 1, 1.0, 'RETRAINED', 1.0, 'RETRAINED'),
        (privacy.MinSeparation(grouping='slots'), 2, 2.0, 'RETRAINED', 2.0, 'RETRAINED'),
    ],
)
def test_sensitivity_follows_from_sampler_grouping_and_relation(
    make_plan, sampling, k, sensitivity, relation, other, other_relation
):
    plan = make_plan('gaussian', sampling=sampling, users_per_virtual_client=k)
    assert plan.sensitivity_over_clip == sensitivity
    assert plan.relation == getattr(relations, relation)
    change = sampling.record_change(plan.population, 'present_absent')
    assert change.update == other
    assert sampling.relation('present_absent') == getattr(relations, other_relation)
    # A count that follows its record moves by half as much, unless the record stays.
    assert change.count in (change.update / 2, 1.0)
    assert sampling.record_change(plan.population, 'virtual_client').update == 1


@pytest.mark.parametrize(
    'sampling', [privacy.Poisson(), privacy.Poisson('slots'), privacy.FixedSize()]
)
@pytest.mark.parametrize('mechanism', ['tree', 'tree_adaptive'])
def test_correlated_noise_with_random_cohorts_is_refused(make_plan, mechanism, sampling):
    with pytest.raises(ValueError, match='noise is correlated over rounds.*min_separation'):
        make_plan(mechanism, sampling=sampling)


@pytest.mark.parametrize('name', sorted(privacy.MECHANISMS))
def test_every_mechanism_has_an_analysis_with_a_schedule(make_plan, name):
    plan = make_plan(name, sampling=privacy.MinSeparation())
    assert math.isfinite(plan.epsilon()) == plan.private
    assert (plan.zcdp_rho() is not None) == plan.private


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'num_users': 15}, r'16 users a round, but num_users=15 \(q > 1\)'),
        ({'num_users': 0}, 'num_users=0: expected a whole number of at least 1'),
        ({'rounds': 2.5}, 'rounds=2.5: expected a whole number'),
        ({'rounds': math.inf}, 'rounds=inf: expected a whole number'),
        ({'rounds': math.nan}, 'rounds=nan: expected a whole number'),
        ({'num_users': '1000'}, "num_users='1000': expected a whole number"),
        ({'virtual_clients_per_round': -8}, 'virtual_clients_per_round=-8'),
        ({'delta': 1e-3}, 'below 1/num_users = 0.001'),
        ({'delta': 0.0}, 'delta=0.0: expected a number above 0'),
        ({'delta': math.nan}, 'delta=nan: expected a finite number'),
        ({'noise_cohort_size': 7}, 'noise_cohort_size=7: expected at least'),
        ({'noise_cohort_size': 80, 'delta': 2e-4}, 'below 1/num_users = 0.0001'),
        (
            {'sampling': privacy.MinSeparation(min_separation=64)},
            'min_separation=64: 1000 users, 16 a round, come round every 63 rounds',
        ),
        (
            {'sampling': privacy.MinSeparation(max_participations=2), 'rounds': 127},
            'max_participations=2: 127 rounds need 3 of each user; expected at most 126',
        ),
    ],
)
def test_impossible_plans_are_refused(make_plan, changes, message):
    with pytest.raises(ValueError, match=message):
        make_plan('gaussian', **changes)


def test_whole_floats_become_ints(make_plan):
    """1e6 is how people write a million; a sampler needs an int."""
    plan = make_plan('gaussian', num_users=1e6, noise_cohort_size=16.0)
    assert type(plan.num_users) is int and type(plan.noise_cohort_size) is int
    assert privacy.PrivateRun(plan, 1).cohort(0).num_users > 0


def test_unknown_unit_and_negative_rounds_are_refused(make_plan):
    plan = make_plan('gaussian')
    with pytest.raises(ValueError, match="unit='example': expected one of user, present_ab"):
        plan.epsilon(unit='example')
    with pytest.raises(ValueError, match='rounds=-1'):
        plan.epsilon(-1)


def test_default_delta_and_no_rounds(make_plan):
    plan = make_plan('gaussian')
    assert plan.guarantee_delta == pytest.approx(1000**-1.1)
    assert plan.epsilon(0) == 0
    assert plan.zcdp_rho(0) == 0


@pytest.mark.parametrize('name', ['none', 'clip_only'])
def test_without_noise_epsilon_is_infinite_by_the_same_interface(make_plan, name):
    plan = make_plan(name)
    assert plan.epsilon() == plan.epsilon(3, 'virtual_client', 'rdp') == math.inf
    assert plan.noise_stddev == 0 and plan.zcdp_rho() is None and not plan.private
    with pytest.raises(ValueError, match=f'mechanism={name}: there is no noise to scale'):
        make_plan(name, noise_cohort_size=100)
    with pytest.raises(ValueError, match=f'mechanism={name}: nothing to calibrate'):
        privacy.calibrate(plan, 1.0)


def test_one_place_decides_the_noise_and_the_event(make_plan):
    """Half the noise multiplier reaches the accountant in slots, with q = m k / N."""
    plan = make_plan('gaussian')
    assert plan.noise_stddev == 1.5 * 0.5
    q = 16 / 1000
    sampled = analysis.SampledGaussian
    assert plan.analysis(7) == sampled('replaced', 1.5, q, 7)
    for unit in ('present_absent', 'virtual_client'):
        assert plan.analysis(7, unit) == sampled('add_or_remove', 1.5, q, 7)
    slots = make_plan('gaussian', sampling=privacy.Poisson('slots'))
    assert slots.analysis(7) == sampled('add_or_remove', 0.75, q, 7)
    assert slots.analysis(7, 'virtual_client') == sampled('add_or_remove', 1.5, q, 7)
    fixed = make_plan('gaussian', sampling=privacy.FixedSize())
    assert fixed.analysis(7) == sampled('without_replacement', 0.75, q, 7)


def test_adaptive_clip_is_the_same_pair_in_two_dimensions(make_plan):
    """Both data sets move sum and count by (C, 1/2), in opposite directions: 1 / z."""
    plan = make_plan('adaptive_gaussian')
    assert plan.analysis(3).kind == 'replaced'
    assert plan.analysis(3).ratio == pytest.approx(1.5)
    slots = make_plan('adaptive_gaussian', sampling=privacy.Poisson('slots'))
    assert slots.analysis(3).ratio == pytest.approx(0.75)


def test_a_schedule_costs_2c_replaced_and_c_absent(make_plan):
    plan = make_plan('tree')
    squared = make_plan('tree', sampling=privacy.MinSeparation(grouping='slots')).analysis(16)
    assert plan.analysis(16) == squared
    assert plan.analysis(16, 'present_absent').ratio == pytest.approx(2 * squared.ratio)
    assert plan.zcdp_rho() == pytest.approx(0.5 / squared.ratio**2)


def test_whole_groups_cost_less_than_slots_with_the_same_noise(make_plan):
    for name in ('gaussian', 'adaptive_gaussian'):
        groups = make_plan(name)
        slots = make_plan(name, sampling=privacy.Poisson('slots'))
        assert groups.epsilon(unit='present_absent') < groups.epsilon() < slots.epsilon()


def test_more_rounds_than_planned_are_accounted(make_plan):
    """A run that is resumed for longer pays for all of its rounds, not the planned ones."""
    plan = make_plan('gaussian')
    longer = dataclasses.replace(plan, rounds=40)
    assert plan.epsilon(40) == longer.epsilon() > plan.epsilon()
    tree = make_plan('tree')
    assert tree.epsilon(40) == dataclasses.replace(tree, rounds=40).epsilon()


@pytest.mark.parametrize(
    'sampling', [privacy.Poisson(), privacy.Poisson('slots'), privacy.FixedSize()]
)
def test_rounds_amplified_by_sampling_have_no_rho(make_plan, sampling):
    assert make_plan('gaussian', sampling=sampling).zcdp_rho() is None


# What raises epsilon when it grows, and what lowers it.
RAISES = {'rounds': (1, 300), 'virtual_clients_per_round': (1, 40)}
LOWERS = {'noise_multiplier': (0.6, 6.0), 'delta': (1e-8, 1e-5), 'num_users': (1000, 90_000)}
# Grids differ between plans; each is within this of the truth.
GRID = 1 + 1e-3


def _plan(
    sampling,
    rounds=60,
    virtual_clients_per_round=16,
    noise_multiplier=1.0,
    delta=1e-6,
    num_users=3000,
    users_per_virtual_client=4,
):
    return privacy.PrivacyPlan(
        num_users=num_users,
        virtual_clients_per_round=virtual_clients_per_round,
        users_per_virtual_client=users_per_virtual_client,
        rounds=rounds,
        mechanism=privacy.Gaussian(1.0, noise_multiplier),
        sampling=sampling,
        delta=delta,
    )


@pytest.mark.parametrize(
    'sampling', [privacy.Poisson(), privacy.Poisson('slots'), privacy.FixedSize()]
)
@pytest.mark.parametrize('name', [*RAISES, *LOWERS])
@hypothesis.settings(max_examples=5)
@hypothesis.given(data=st.data())
def test_epsilon_is_monotone(sampling, name, data):
    low, high = (RAISES | LOWERS)[name]
    draw = st.floats(low, high) if isinstance(low, float) else st.integers(low, high)
    small, large = sorted([data.draw(draw), data.draw(draw)])
    first, second = (_plan(sampling, **{name: value}).epsilon() for value in (small, large))
    if name in LOWERS:
        first, second = second, first
    assert first <= second * GRID + 1e-6


@pytest.mark.parametrize(
    'sampling', [privacy.Poisson(), privacy.Poisson('slots'), privacy.FixedSize()]
)
def test_epsilon_moves_strictly_over_a_large_step(sampling):
    base = _plan(sampling).epsilon()
    for name, (low, high) in (RAISES | LOWERS).items():
        ends = [_plan(sampling, **{name: value}).epsilon() for value in (low, high)]
        assert (ends[0] < ends[1]) == (name in RAISES), name
    assert _plan(sampling, users_per_virtual_client=8).epsilon() > base


@hypothesis.settings(max_examples=20)
@hypothesis.given(
    rounds=st.integers(1, 80),
    more=st.integers(0, 40),
    separation=st.integers(1, 7),
    z=st.floats(1.0, 5.0),
    name=st.sampled_from(['tree', 'tree_adaptive', 'gaussian']),
)
def test_rho_of_schedules_is_monotone(rounds, more, separation, z, name):
    mechanism = {
        'gaussian': privacy.Gaussian(1.0, z),
        'tree': privacy.Tree(1.0, z, restart_rounds=10, tree_completion=True),
        'tree_adaptive': privacy.TreeAdaptive(1.0, z, restart_rounds=10),
    }[name]

    def rho(separation, rounds, factor=1.0):
        return privacy.PrivacyPlan(
            200,
            7,
            4,
            rounds,
            mechanism.for_cohort(7).scaled(factor),
            privacy.MinSeparation(min_separation=separation),
        ).zcdp_rho()

    assert rho(separation, rounds) <= rho(separation, rounds + more)
    assert rho(separation, rounds, 2.0) < rho(separation, rounds)
    # Users that always come back after a whole epoch are the cheapest.
    assert rho(8, rounds) <= rho(separation, rounds) * (1 + 1e-12)


def test_simulation_keeps_the_noise_on_the_mean_and_takes_the_deployments_epsilon(make_plan):
    plan = make_plan('gaussian', noise_cohort_size=80)
    deployed = make_plan('gaussian', virtual_clients_per_round=80, num_users=10_000)
    assert plan.hypothetical and plan.noise_scale == 0.1
    assert plan.noise_stddev / 8 == pytest.approx(deployed.noise_stddev / 80)
    assert plan.epsilon() == deployed.epsilon()
    assert plan.population.num_users == 1000


def test_simulation_never_counts_more_users_than_it_has(make_plan):
    """N M / m is rounded down: 1000 * 11 / 8 = 1375."""
    for cohort in (9, 11, 13):
        simulated = make_plan('gaussian', num_users=999, noise_cohort_size=cohort)
        assert simulated.guarantee_population.num_users <= 999 * cohort / 8
        assert (
            simulated.guarantee_population.sampling_probability
            >= simulated.sampling_probability
        )


@pytest.mark.parametrize('name', sorted(privacy.MECHANISMS))
def test_json_of_a_plan_is_json_and_has_no_seed(make_plan, name):
    plan = make_plan(name)
    text = json.dumps(plan.to_json(), allow_nan=False)
    assert 'seed' not in text
    if plan.sampling.name != 'fixed_size':
        assert json.loads(text)['sampling']['grouping'] == 'groups'
    assert json.loads(text)['mechanism']['name'] == name
