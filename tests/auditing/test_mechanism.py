"""The audit of the mechanism: honest code passes, every planted fault is caught.

A fault is caught where a lower bound of epsilon exceeds the claim at the level of an
alarm, or a named check fails (its level, 1e-6, is far below 0.01). Seeds are fixed, so
nothing here is flaky.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.estimators import f_dp
from dp_fedemb.auditing.estimators import many_runs
from dp_fedemb.auditing.mechanism import audit as audit_lib
from dp_fedemb.auditing.mechanism import black_box
from dp_fedemb.auditing.mechanism import cohort_checks
from dp_fedemb.auditing.mechanism import games
from dp_fedemb.auditing.mechanism import noise_checks
from dp_fedemb.data import virtual_clients
from dp_fedemb.privacy import sampling

PRIVATE = sorted(name for name, cls in privacy.MECHANISMS.items() if cls.private)


def plan_of(make_plan, mechanism='gaussian', **changes):
    return make_plan(mechanism, num_users=160, rounds=4, **changes)


def small_audit(plan, first_seed=100, coordinates=2048, **options):
    seeds = range(first_seed, first_seed + 1000 * 4, 1000)
    return audit_lib.audit(plan, coordinates=coordinates, runs=2, seeds=seeds, **options)


# Independent, in trees, and correlated; the others take as long again.
QUICK = ('gaussian', 'tree', 'blt')


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=() if n in QUICK else pytest.mark.soak) for n in PRIVATE]
)
def test_honest_mechanisms_pass(name, make_plan):
    everybody = {}
    if privacy.MECHANISMS[name].independent_rounds:
        everybody = {'virtual_clients_per_round': 80}  # q = 1, whose curves are quick.
    result = small_audit(plan_of(make_plan, name, **everybody), rounds=[4])
    assert result.alarms == []
    assert all(bound.estimate.lower < bound.estimate.claimed for bound in result.bounds)
    # It is no empty pass: something is seen of the user.
    assert max(bound.estimate.tightness for bound in result.bounds) > 0.5


@pytest.mark.parametrize(
    'chosen',
    [
        privacy.Poisson('slots'),
        privacy.FixedSize(),
        privacy.MinSeparation(),
        privacy.MinSeparation(2, grouping='slots'),
        privacy.Poisson(),
    ],
    ids=lambda chosen: f'{chosen.name} {getattr(chosen, "grouping", "")}',
)
@pytest.mark.parametrize('k', [1, 3])
def test_honest_cohorts_pass(chosen, k, make_plan):
    plan = plan_of(make_plan, sampling=chosen, users_per_virtual_client=k)
    runs = [privacy.PrivateRun(plan, seed) for seed in range(20)]
    found = [*cohort_checks.run_checks(runs), *cohort_checks.changed_user(plan)]
    assert [check for check in found if check.failed] == []


def test_bounds_of_a_plain_gaussian_come_near_its_claim(make_plan):
    """At least 0.8 of the claim, here with a twentieth of the games of the command."""
    plan = plan_of(make_plan, virtual_clients_per_round=80, users_per_virtual_client=2)
    assert plan.sampling_probability == 1
    result = small_audit(plan, coordinates=8192, rounds=[1])
    assert max(bound.estimate.tightness for bound in result.bounds) > 0.8


# Planted faults. Each patches the code and says how it is found out: `bound` or a check.


def scaled(monkeypatch, factor):
    intact = rounded_gaussian.draw
    monkeypatch.setattr(
        rounded_gaussian,
        'draw',
        lambda key, stddev, size: intact(key, stddev * factor, size),
    )


def noise_over_m(monkeypatch):
    scaled(monkeypatch, 1 / 8)


def noise_on_the_mean(monkeypatch):
    scaled(monkeypatch, 8.0)


def a_little_less_noise(monkeypatch):
    scaled(monkeypatch, 0.9)


def noise_of_the_mean_of_users(monkeypatch):
    scaled(monkeypatch, 8**-0.5)


def clip_skipped_for_one_in_a_hundred(monkeypatch):
    intact = fixed_point.Grid.clip
    generator = np.random.default_rng(0)

    def scaled_clip(grid, record, clip_norm):
        clipped, norm = intact(grid, record, clip_norm)
        if generator.random() < 0.01:
            factor = int(norm / float(clip_norm)) or 1
            clipped = tf.nest.map_structure(lambda leaf: leaf * factor, clipped)
        return clipped, norm

    monkeypatch.setattr(fixed_point.Grid, 'clip', scaled_clip)


def clip_by_layer_only(monkeypatch):
    """Each coordinate to C instead of the whole record: a norm of sqrt(d) C."""

    def clip(grid, record, clip_norm):
        parts = [
            tf.cast(tf.clip_by_value(leaf / clip_norm, -1.0, 1.0) * grid.units, tf.int64)
            for leaf in record
        ]
        return parts, fixed_point.record_norm(record)

    monkeypatch.setattr(fixed_point.Grid, 'clip', clip)


def sampled_more_often_than_accounted(monkeypatch):
    intact = sampling.Poisson.cohort

    def cohort(self, population, seed, round_num):
        more = dataclasses.replace(
            population,
            virtual_clients_per_round=round(1.25 * population.virtual_clients_per_round),
        )
        return intact(self, more, seed, round_num)

    monkeypatch.setattr(sampling.Poisson, 'cohort', cohort)


def sampling_probability_understated(monkeypatch):
    """The accountant is told of a smaller one than the sampler has."""
    told_of(monkeypatch, lambda told: {'probability': 0.8 * told.probability})


def fewer_rounds_accounted(monkeypatch):
    told_of(monkeypatch, lambda told: {'rounds': told.rounds // 2})


def sensitivity_off_by_two(monkeypatch):
    told_of(monkeypatch, lambda told: {'ratio': 2 * told.ratio})


def told_of(monkeypatch, change):
    intact = sampling.Poisson.analysis

    def analysis(self, *arguments):
        told = intact(self, *arguments)
        return dataclasses.replace(told, **change(told))

    monkeypatch.setattr(sampling.Poisson, 'analysis', analysis)


def the_same_cohort_in_every_round(monkeypatch):
    intact = sampling.Poisson.cohort
    monkeypatch.setattr(
        sampling.Poisson,
        'cohort',
        lambda self, population, seed, round_num: intact(self, population, seed, 0),
    )


def some_users_more_often(monkeypatch):
    """A user of the first tenth comes in the place of one of the last where it can."""
    intact = sampling.Poisson.cohort

    def cohort(self, population, seed, round_num):
        drawn = intact(self, population, seed, round_num)
        mirror = population.num_users - 1
        taken = {user for group in drawn.users for user in group.tolist()}
        groups = [group.copy() for group in drawn.users]
        for group in groups:
            for place, user in enumerate(group.tolist()):
                if user > 0.9 * mirror and mirror - user not in taken:
                    group[place] = mirror - user
        return dataclasses.replace(drawn, users=tuple(groups))

    monkeypatch.setattr(sampling.Poisson, 'cohort', cohort)


def slots_accounted_as_groups(monkeypatch):
    intact = sampling.Poisson.cohort
    monkeypatch.setattr(
        sampling.Poisson,
        'cohort',
        lambda self, *arguments: intact(sampling.Poisson('slots'), *arguments),
    )


def groups_that_are_not_void(monkeypatch):
    """The others of an absent user's group are trained without it, at the cost of a void."""
    intact = virtual_clients.assemble

    def assemble(store, run, round_num, num_shards, identity_labels=None):
        drawn = type(run).cohort

        def without_void(self, number):
            return dataclasses.replace(drawn(self, number), whole_groups=False)

        with monkeypatch.context() as patch:
            patch.setattr(type(run), 'cohort', without_void)
            return intact(store, run, round_num, num_shards, identity_labels)

    monkeypatch.setattr(virtual_clients, 'assemble', assemble)


def same_noise_in_two_rounds(monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        lambda run, stream, round_num, *rest: intact(run, stream, round_num // 2, *rest),
    )


def same_noise_in_another_attempt(monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        lambda run, stream, round_num, *rest: intact(run, stream, round_num),
    )


def public_key(monkeypatch):
    """One that everybody can compute, another in every round."""
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        lambda run, *names: repr(names).encode().ljust(32)[:32],
    )


def key_of_few_bits(monkeypatch):
    intact = privacy.PrivateRun.noise_key

    def noise_key(run, *names):
        return intact(privacy.PrivateRun(run.plan, run.secret_seed % 100), *names)

    monkeypatch.setattr(privacy.PrivateRun, 'noise_key', noise_key)


def old_float_generator(monkeypatch):
    def draw(key, stddev, size):
        seed = np.frombuffer(key[:16], np.int64)
        normals = tf.random.stateless_normal([size], seed).numpy().astype(np.float64)
        return np.rint(stddev * normals).astype(np.int64)

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)


def inverted_float_uniforms(monkeypatch):
    from scipy import special

    def draw(key, stddev, size):
        generator = np.random.default_rng(list(key))
        uniforms = (generator.integers(1, 2**24, size) / 2.0**24).astype(np.float64)
        return np.rint(stddev * special.ndtri(uniforms)).astype(np.int64)

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)


def one_layer_without_noise(monkeypatch):
    intact = rounded_gaussian.draw

    def draw(key, stddev, size):
        drawn = intact(key, stddev, size)
        drawn[-size // 5 :] = 0
        return drawn

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)


def noise_of_one_layer_in_another(monkeypatch):
    """The layers of `Layout`: the first numbers of the last are those of the first."""
    intact = rounded_gaussian.draw

    def draw(key, stddev, size):
        drawn = intact(key, stddev, size)
        drawn[-(size // 4) :] = drawn[: size // 4]
        return drawn

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)


def tiled_noise(monkeypatch):
    intact = rounded_gaussian.draw
    monkeypatch.setattr(
        rounded_gaussian,
        'draw',
        lambda key, stddev, size: np.resize(intact(key, stddev, -(-size // 4)), size),
    )


def tails_cut_off(monkeypatch):
    intact = rounded_gaussian.draw

    def draw(key, stddev, size):
        limit = int(2.5 * stddev)
        return np.clip(intact(key, stddev, size), -limit, limit)

    monkeypatch.setattr(rounded_gaussian, 'draw', draw)


FAULTS = [
    (noise_over_m, 'bound'),
    (noise_on_the_mean, 'Gaussian of the claimed size'),
    (noise_of_the_mean_of_users, 'bound'),
    (a_little_less_noise, 'Gaussian of the claimed size'),
    (clip_skipped_for_one_in_a_hundred, 'no record is longer'),
    (clip_by_layer_only, 'no record is longer'),
    (sampled_more_often_than_accounted, 'as often as is accounted'),
    (sampling_probability_understated, 'as often as is accounted'),
    (fewer_rounds_accounted, 'told of every round'),
    (sensitivity_off_by_two, 'than the accountant is told'),
    (the_same_cohort_in_every_round, 'cohorts of rounds are independent'),
    (some_users_more_often, 'more often than others'),
    (slots_accounted_as_groups, 'made up as the plan says'),
    (groups_that_are_not_void, 'told, if absent'),
    (same_noise_in_two_rounds, 'no two rounds have the same noise'),
    (same_noise_in_another_attempt, 'fresh noise'),
    (public_key, 'noise of runs with other seeds'),
    (key_of_few_bits, 'no two seeds'),
    (old_float_generator, 'no lattice'),
    (inverted_float_uniforms, 'no lattice'),
    (one_layer_without_noise, 'noise of layer 3'),
    (noise_of_one_layer_in_another, 'noise of layers'),
    (tiled_noise, 'noise of coordinates'),
    (tails_cut_off, 'tails'),
]


@pytest.mark.parametrize('fault, found_by', FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_planted_faults_are_caught(fault, found_by, make_plan, monkeypatch):
    fault(monkeypatch)
    plan = plan_of(make_plan)
    coordinates = 16_384 if found_by == 'no lattice' else 4096
    runs = [privacy.PrivateRun(plan, seed) for seed in (3, 1003)]
    if found_by == 'bound':
        layout, claim = (
            black_box.Layout(coordinates),
            audit_lib.estimators.Claim.of_plan(plan, 1),
        )
        played = games.play(runs[0], layout, 1, np.random.default_rng(0), repeats=8)
        scores = np.concatenate([each.scores for each in played])
        bits = np.concatenate([each.bits for each in played])
        found = many_runs.estimates(scores, bits, claim, 0.95)
        assert any(each.alarm and each.lower > each.claimed for each in found)
        return
    layout = black_box.Layout(coordinates)
    found = list(noise_checks.run_checks(runs, layout))
    if not any(found_by in check.name for check in found):
        found = [
            noise_checks.seeds_differ(plan, range(300)),
            *audit_lib.clip_checks.run_checks(runs[0], np.random.default_rng(1)),
            *cohort_checks.run_checks([privacy.PrivateRun(plan, seed) for seed in range(50)]),
            *cohort_checks.changed_user(plan),
        ]
    failed = [check.name for check in found if check.failed]
    assert any(found_by in name for name in failed), failed


def wrong_separation(monkeypatch):
    """Users come back every second round, and the accountant is told of the schedule."""
    intact = sampling.MinSeparation.cohort
    monkeypatch.setattr(
        sampling.MinSeparation,
        'cohort',
        lambda self, population, seed, number: intact(self, population, seed, number % 2),
    )


def correlation_understated(monkeypatch):
    """Of a user's rounds the accountant adds up the first alone."""
    intact = sampling.MinSeparation.analysis
    monkeypatch.setattr(
        sampling.MinSeparation,
        'analysis',
        lambda self, population, mechanism, rounds, unit='user': intact(
            self, population, mechanism, 1, unit
        ),
    )


@pytest.mark.parametrize(
    'fault, found_by',
    [
        (wrong_separation, 'no sooner'),
        (wrong_separation, "accountant's sensitivity"),
        (correlation_understated, "accountant's sensitivity"),
    ],
)
def test_planted_faults_of_schedules_are_caught(fault, found_by, make_plan, monkeypatch):
    plan = make_plan('banded', num_users=64, rounds=9)

    def failed():
        runs = [privacy.PrivateRun(plan, seed) for seed in (3, 4)]
        return [check.name for check in cohort_checks.run_checks(runs) if check.failed]

    assert failed() == []
    fault(monkeypatch)
    assert any(found_by in name for name in failed())


@pytest.mark.parametrize('repeats', [30, pytest.param(200, marks=pytest.mark.soak)])
def test_honest_runs_raise_no_alarm(repeats, make_plan):
    """Small ones: a round of games, and all checks of noise and cohorts."""
    plan = plan_of(make_plan)
    layout = black_box.Layout(1024)
    claim = audit_lib.estimators.Claim.of_plan(plan, 1)
    failed = []
    for number in range(repeats):
        runs = [privacy.PrivateRun(plan, 7_000_000 + 10 * number + i) for i in range(2)]
        failed += [check for check in noise_checks.run_checks(runs, layout) if check.failed]
        failed += [check for check in cohort_checks.run_checks(runs) if check.failed]
        (played,) = games.play(runs[0], layout, 1, np.random.default_rng(number))
        for estimate in (f_dp.estimate, many_runs.estimates):
            found = estimate(played.scores, played.bits, claim, 0.95)
            failed += [
                each for each in (found if isinstance(found, list) else [found]) if each.alarm
            ]
    assert failed == []


def test_levels(make_plan):
    check = checks.count('coins', 10, 100, 0.5, 'heads')
    assert check.failed and check.p_value < 1e-6 and '50.0 expected' in check.seen
    assert not checks.holds('it holds', True, '').failed
    assert checks.normal('NaN', float('nan'), 1, '').failed


@pytest.mark.parametrize(
    'options, match',
    [
        ({'runs': 1}, 'runs=1'),
        ({'confidence': 1.0}, 'confidence=1.0'),
        ({'coordinates': 5}, 'coordinates=5'),
    ],
)
def test_bad_settings_are_refused(options, match, make_plan):
    with pytest.raises(ValueError, match=match):
        audit_lib.audit(make_plan('gaussian'), **options)


@pytest.mark.parametrize('name', ['none', 'clip_only'])
def test_without_noise_there_is_nothing_to_audit(name, make_plan):
    with pytest.raises(ValueError, match='adds no noise'):
        audit_lib.audit(make_plan(name))
