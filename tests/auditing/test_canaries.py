"""Canaries in a real training: honest runs pass, faults of the engine are caught."""

import dataclasses
import functools

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.auditing.canaries import audit
from dp_fedemb.auditing.canaries import updates
from dp_fedemb.auditing.estimators import f_dp


def plan_of(num_users, noise_multiplier=2.0, rounds=3):
    # Everybody in every round, so that the claim is that of a plain Gaussian.
    return privacy.PrivacyPlan(
        num_users=num_users,
        virtual_clients_per_round=num_users,
        users_per_virtual_client=1,
        rounds=rounds,
        mechanism=privacy.Gaussian(1.0, noise_multiplier),
        delta=1e-5,
    )


def with_settings(setup, **changes):
    return dataclasses.replace(setup, settings=dataclasses.replace(setup.settings, **changes))


def by_updates(people, setup, seed=0, plan=plan_of):
    return audit.audit(
        people,
        setup,
        plan,
        canaries=1000,
        most_users=8,
        generator=np.random.default_rng(seed),
    )


def test_canary_updates_come_near_the_claim_and_never_above(people, training_setup):
    found = by_updates(people, with_settings(training_setup, server_momentum=0.9))
    for bounds in found.values():
        for bound in bounds:
            assert bound.estimate.lower < bound.estimate.claimed and not bound.estimate.alarm
    best = found[updates.ALL_ITERATES][0].estimate
    # End to end: at least 0.3 of the claim, from one training, its momentum taken out.
    assert best.estimator == f_dp.NAME and best.tightness > 0.3


@pytest.mark.soak
def test_twenty_honest_trainings_raise_no_alarm(people, training_setup):
    for seed in range(20):
        for bounds in by_updates(people, training_setup, seed).values():
            assert not any(bound.estimate.alarm for bound in bounds)
            assert all(bound.estimate.lower < bound.estimate.claimed for bound in bounds)


def noise_over_m(monkeypatch):
    intact = rounded_gaussian.draw
    monkeypatch.setattr(
        rounded_gaussian,
        'draw',
        lambda key, stddev, size: intact(key, stddev / 20, size),
    )


@pytest.mark.parametrize('fault', [noise_over_m])
def test_faults_raise_an_alarm(fault, people, training_setup, monkeypatch):
    fault(monkeypatch)
    # One run of a thousand canaries cannot show a larger claim to be wrong.
    found = by_updates(
        people, training_setup, plan=functools.partial(plan_of, noise_multiplier=5.0)
    )
    best = found[updates.ALL_ITERATES][0].estimate
    assert best.lower > best.claimed and best.alarm


def test_canary_users_show_in_a_model_without_privacy(people, training_setup):
    def none(num_users):
        return privacy.PrivacyPlan(num_users, 32, 1, 120, privacy.NoPrivacy())

    found = audit.audit(
        people,
        training_setup,
        none,
        kind='unique',
        canaries=60,
        most_users=4,
        generator=np.random.default_rng(1),
    )
    (estimate, _) = (bound.estimate for bound in found[updates.FINAL_MODEL])
    assert estimate.epsilon > 1 and estimate.lower > 0
    assert not estimate.alarm and np.isinf(estimate.claimed)


@pytest.mark.parametrize('kind', ['unique', 'mislabelled'])
def test_canary_users_do_not_exceed_the_claim(kind, people, training_setup):
    found = audit.audit(
        people,
        training_setup,
        plan_of,
        kind=kind,
        canaries=60,
        most_users=8,
        generator=np.random.default_rng(2),
    )
    for bound in found[updates.FINAL_MODEL]:
        assert bound.estimate.lower < bound.estimate.claimed and not bound.estimate.alarm


def test_without_noise_updates_are_refused(people, training_setup):
    with pytest.raises(ValueError, match='without clip'):
        audit.audit(
            people,
            training_setup,
            lambda n: privacy.PrivacyPlan(n, n, 1, 1, privacy.NoPrivacy()),
            canaries=16,
            generator=np.random.default_rng(0),
        )
