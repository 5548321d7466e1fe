"""Faults that would void the guarantee in silence, each patched in and found.

`check_draws` and `check_figures` hold what a run draws against what its plan accounts. They
pass for the code as it is and must fail for every fault below.
"""

import dataclasses
import itertools
import math
import secrets

import numpy as np
import pytest
from scipy import stats

from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.privacy import accounting
from dp_fedemb.privacy import analysis
from dp_fedemb.privacy import mechanisms
from dp_fedemb.privacy import plan as plan_lib
from dp_fedemb.privacy import private_run
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import sampling
from dp_fedemb.privacy import sensitivity
from dp_fedemb.privacy.reporting import statement as statement_lib

ROUNDS = 300


def make_plan(sampling=privacy.Poisson()):
    return privacy.PrivacyPlan(
        num_users=60,
        virtual_clients_per_round=4,
        users_per_virtual_client=3,
        rounds=8,
        mechanism=privacy.Gaussian(1.0, 1.0),
        sampling=sampling,
    )


def members(run, rounds=ROUNDS):
    joined = np.zeros((rounds, run.plan.num_users), bool)
    for round_num in range(rounds):
        for users in run.cohort(round_num).users:
            joined[round_num, users] = True
    return joined


def check_draws():
    """What a run hands out is secret, fresh in every round, and as likely as accounted."""
    plan = make_plan()
    seeds = [privacy.PrivateRun.start(plan).secret_seed for _ in range(12)]
    assert max(seeds) > 2**100 and len({*seeds}) == len(seeds)
    run, other = (privacy.PrivateRun(plan, seed) for seed in (2**100 + 3, 2**101 + 5))
    for draw in (
        lambda run, t: run.noise_key(t),
        lambda run, t: run.noise_key(0, t),
        lambda run, t: run.head_keys(t, 3).tobytes(),
        lambda run, t: b''.join(users.tobytes() for users in run.cohort(t).users),
    ):
        drawn = [draw(r, t) for r in (run, other) for t in range(20)]
        # Two small cohorts may be alike once; keys may not.
        assert len({*drawn}) >= len(drawn) - 2
    assert run.tf_noise_key().tolist() != other.tf_noise_key().tolist()
    joined = members(run)
    q = plan.sampling_probability
    sizes = joined.sum(axis=1) / plan.users_per_virtual_client
    assert abs(sizes.mean() - plan.virtual_clients_per_round) < 5 * math.sqrt(4 * 0.8 / ROUNDS)
    z = (joined.sum(axis=0) - ROUNDS * q) / math.sqrt(ROUNDS * q * (1 - q))
    assert stats.kstest(z, 'norm').pvalue > 1e-3
    again = (joined[1:] & joined[:-1]).mean()
    assert abs(again - q * q) < 6 * math.sqrt(
        q * q * plan.users_per_virtual_client / joined.size
    )
    # Groups of one round are not those of the next.
    groups = [{tuple(sorted(users)) for users in run.cohort(t).users} for t in range(40)]
    assert sum(len(a & b) for a, b in itertools.pairwise(groups)) <= 1
    schedule = privacy.PrivateRun(make_plan(privacy.MinSeparation()), 2**102 + 7)
    privacy.statement(schedule.plan, 30, observed=schedule.observed(30))


def check_figures():
    """What a plan states is what one Gaussian, or a pair, of the right size costs."""
    plan = make_plan()
    q, delta = plan.sampling_probability, plan.guarantee_delta
    for unit, kind in (('user', 'replaced'), ('present_absent', 'add_or_remove')):
        pair = analysis.SampledGaussian(kind, 1.0, q, 8)
        assert plan.epsilon(unit=unit) == accounting.epsilon(pair, delta)
    slots = make_plan(privacy.Poisson('slots'))
    pair = analysis.SampledGaussian('add_or_remove', 0.5, q, 8)
    assert slots.epsilon() == accounting.epsilon(pair, delta)
    schedule = make_plan(privacy.MinSeparation())
    assert schedule.analysis(8).ratio == pytest.approx(0.5 / math.sqrt(2))
    assert plan.noise_stddev == 1.0 and plan.sensitivity_over_clip == 2
    statement = privacy.PrivateRun(plan, 7).statement(8)
    assert not statement['private'] and statement['epsilon_user'] >= plan.epsilon()
    assert privacy.PrivateRun(plan, 2**90).statement(8)['private']
    assert privacy.statement_headline(statement)[0].startswith('NOT PRIVATE')


def test_the_checks_pass():
    check_draws()
    check_figures()


def patch_cohort(change):
    """A fault in `PrivateRun.cohort`: `change(run, round_num)` gives its cohort."""
    return lambda patch: patch.setattr(private_run.PrivateRun, 'cohort', change)


def _draw(run, seed, round_num, plan=None):
    plan = plan or run.plan
    return plan.sampling.cohort(plan.population, seed, round_num)


def _groups_of_the_first_round(run, round_num):
    """Groups join anew in every round, but are divided once."""
    population = run.plan.population
    order = randomness.generator(run.secret_seed, 'once').permutation(population.num_users)
    groups = np.split(order, population.num_groups)
    joined = randomness.generator(run.secret_seed, 'cohort', round_num).random(len(groups))
    chosen = np.flatnonzero(joined < population.sampling_probability)
    return privacy.Cohort(tuple(groups[i] for i in chosen), True)


def _key(*kept):
    """A fault in `randomness.key`: only some of (seed, purpose, indices) count."""

    def patch_key(patch):
        real = randomness.key

        def key(seed, purpose, *indices):
            given = {'seed': seed, 'purpose': purpose, 'indices': indices}
            used = {'seed': 1, 'purpose': 'all', 'indices': ()} | {k: given[k] for k in kept}
            return real(used['seed'], used['purpose'], *used['indices'])

        patch.setattr(randomness, 'key', key)

    return patch_key


DRAWS = {
    'the same cohort every round': patch_cohort(lambda run, t: _draw(run, run.secret_seed, 0)),
    'a cohort for two rounds': patch_cohort(lambda run, t: _draw(run, run.secret_seed, t // 2)),
    'public cohorts': patch_cohort(lambda run, t: _draw(run, 0, t)),
    'twice the users': patch_cohort(
        lambda run, t: _draw(
            run,
            run.secret_seed,
            t,
            dataclasses.replace(run.plan, virtual_clients_per_round=8),
        )
    ),
    'groups divided once': patch_cohort(_groups_of_the_first_round),
    'half the roster': patch_cohort(
        lambda run, t: privacy.Cohort(
            tuple(u // 2 for u in _draw(run, run.secret_seed, t).users), True
        )
    ),
    'a 16-bit seed': lambda patch: patch.setattr(
        randomness, 'new_secret_seed', lambda: secrets.randbits(16)
    ),
    'a constant seed': lambda patch: patch.setattr(
        randomness, 'new_secret_seed', lambda: 2**127 + 1
    ),
    'keys without the seed': _key('purpose', 'indices'),
    'keys without the round': _key('seed', 'purpose'),
    'a constant noise key': lambda patch: patch.setattr(
        private_run.PrivateRun, 'noise_key', lambda run, *indices: bytes(32)
    ),
    'a noise key for all rounds': lambda patch: patch.setattr(
        private_run.PrivateRun,
        'noise_key',
        lambda run, *indices: randomness.key(run.secret_seed, 'noise/key'),
    ),
    'the same noise for all attempts': lambda patch: patch.setattr(
        private_run.PrivateRun,
        'noise_key',
        lambda run, *indices: randomness.key(run.secret_seed, 'noise/key', *indices[:1]),
    ),
    'a public noise key in graphs': lambda patch: patch.setattr(
        private_run.PrivateRun, 'tf_noise_key', lambda run: np.zeros(2, np.int64)
    ),
    'constant heads': lambda patch: patch.setattr(
        private_run.PrivateRun, 'head_keys', lambda run, t, count: np.ones((count, 2), np.int64)
    ),
    'a schedule in half the epoch': lambda patch: patch.setattr(
        sampling.MinSeparation,
        '_round_users',
        lambda self, population, seed, t: np.arange(12) + 12 * (t % 2),
    ),
}


@pytest.mark.parametrize('fault', DRAWS)
def test_a_fault_in_what_is_drawn_is_found(monkeypatch, fault):
    DRAWS[fault](monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check_draws()


FIGURES = {
    'C where a replaced user costs 2C': lambda patch: patch.setattr(
        sensitivity, 'REPLACED', sensitivity.REMOVED
    ),
    'the void relation for the headline': lambda patch: patch.setattr(
        plan_lib.PrivacyPlan,
        'analysis',
        _with_unit(plan_lib.PrivacyPlan.analysis, 'present_absent'),
    ),
    'one round for all': lambda patch: patch.setattr(
        plan_lib.PrivacyPlan,
        'analysis',
        lambda plan, rounds, unit='user': plan.sampling.analysis(
            plan.guarantee_population, plan.mechanism, 1, unit
        ),
    ),
    'twice the users in the population': lambda patch: patch.setattr(
        plan_lib.PrivacyPlan,
        'guarantee_population',
        property(lambda plan: privacy.Population(2 * plan.num_users, 4, 3)),
    ),
    'half the noise drawn': lambda patch: patch.setattr(
        plan_lib.PrivacyPlan, 'noise_scale', property(lambda plan: 0.5)
    ),
    'noise over sensitivity upside down': lambda patch: patch.setattr(
        mechanisms.Mechanism,
        'noise_over_sensitivity',
        lambda self, change: change.update * self.noise_multiplier,
    ),
    'weak seeds taken for strong': lambda patch: patch.setattr(
        private_run, 'LEAST_SEED_BITS', 0
    ),
    'every seed weak': lambda patch: patch.setattr(private_run, 'LEAST_SEED_BITS', 128),
    'rounding to the nearest': lambda patch: patch.setattr(
        statement_lib.rounding,
        'rounded_up',
        lambda value, digits=3: round(value - 5e-4, digits),
    ),
}


def _with_unit(analysis_of, unit):
    return lambda plan, rounds, _='user': analysis_of(plan, rounds, unit)


@pytest.mark.parametrize('fault', FIGURES)
def test_a_fault_in_what_is_stated_is_found(monkeypatch, fault):
    assert statement_lib.rounding is rounding
    FIGURES[fault](monkeypatch)
    with pytest.raises(AssertionError):
        check_figures()
