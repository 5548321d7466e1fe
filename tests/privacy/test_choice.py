"""The choice of mechanism and sampler: by noise in the model, at one epsilon."""

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import choice


@pytest.fixture(scope='module')
def plan(make_plan):
    """The demo's population: 40,000 users, 800 a round, 100 rounds."""
    return make_plan('gaussian', num_users=40_000, virtual_clients_per_round=400, rounds=100)


def test_candidates_have_the_target_and_are_in_order(plan):
    found = choice.candidates(plan, 8.0, 0.9)
    assert len({each.name for each in found}) == len(found) == 10
    for each in found:
        assert 7.9 < each.plan.epsilon() <= 8.0
    noises = [each.model_noise for each in found]
    assert noises == sorted(noises)


def test_small_epsilon_takes_independent_noise_and_large_correlated(plan):
    best = {
        epsilon: choice.candidates(plan, epsilon, 0.9)[0].name for epsilon in (0.5, 2.0, 8.0)
    }
    assert best == {
        0.5: 'gaussian, poisson',
        2.0: 'banded, cyclic_poisson of 4',
        8.0: 'banded, cyclic_poisson of 16',
    }


def test_figures_at_epsilon_8(plan):
    found = {each.name: each.model_noise for each in choice.candidates(plan, 8.0, 0.9)}
    for name, expected in (
        ('gaussian, poisson', 0.0852),
        ('gaussian, min_separation', 0.2638),
        ('banded, min_separation', 0.0587),
        ('banded, cyclic_poisson of 16', 0.0459),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=5e-3)


def test_noise_in_the_model_is_what_sgd_makes_of_draws(plan):
    candidates = {each.name: each for each in choice.candidates(plan, 8.0, 0.9)}
    rng = np.random.default_rng(0)
    for name in ('gaussian, poisson', 'bisr, min_separation'):
        solved = candidates[name].plan
        draws = solved.noise_stddev / solved.mechanism.clip_norm * rng.normal(size=(100, 4000))
        if name.startswith('bisr'):
            draws = np.linalg.solve(
                np.array(
                    [
                        np.pad(solved.mechanism.strategy.column(100), (shift, 0))[:100]
                        for shift in range(100)
                    ]
                ).T,
                draws,
            )
        velocity, model, squares = 0.0, 0.0, 0.0
        for noise in draws / 400:
            velocity = 0.9 * velocity + noise
            model = model + velocity
            squares += np.mean(model**2) / 100
        np.testing.assert_allclose(squares**0.5, candidates[name].model_noise, rtol=0.05)


def test_the_sentence_names_the_best_and_the_next_kind(plan):
    found = choice.candidates(plan, 8.0, 0.9)
    assert choice.sentence(found) == (
        'Least noise in the model: banded, cyclic_poisson of 16; with banded, min_separation it'
        ' is 1.28 times as much.'
    )


def test_what_cannot_be_calibrated_is_last_and_says_why(make_plan):
    tiny = make_plan('gaussian', num_users=16, rounds=4, delta=1e-12)
    found = choice.candidates(tiny, 1e-9, 0.0)
    assert found[-1].plan is None and 'target_epsilon' in found[-1].reason
    assert choice.sentence([found[-1]]) == 'None of them reaches the target.'


def test_only_the_population_counts(plan, make_plan):
    other = make_plan(
        privacy.Blt(0.5, 3.0),
        num_users=40_000,
        virtual_clients_per_round=400,
        rounds=100,
        sampling=privacy.MinSeparation(),
    )
    names = [
        [(each.name, each.model_noise) for each in choice.candidates(each_plan, 8.0, 0.9)]
        for each_plan in (plan, other)
    ]
    assert names[0] == names[1]
