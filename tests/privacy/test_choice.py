"""The choice of mechanism and sampler: by noise in the model, at one epsilon."""

import dataclasses

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import choice
from dp_fedemb.privacy.factorization import server

SGD = server.Server(0.9)


@pytest.fixture(scope='module')
def plan(make_plan):
    """The demo's population: 40,000 users, 800 a round, 100 rounds."""
    return make_plan('gaussian', num_users=40_000, virtual_clients_per_round=400, rounds=100)


def test_candidates_have_the_target_and_are_in_order(plan):
    found = choice.candidates(plan, 8.0, SGD)
    assert len({each.name for each in found}) == len(found) == 27
    solved = [each for each in found if each.plan is not None]
    assert len(solved) == 16 and found[:16] == solved
    for each in solved:
        assert 7.9 < each.plan.epsilon() <= 8.0
    noises = [each.model_noise for each in found]
    assert noises == sorted(noises)


def test_small_epsilon_takes_independent_noise_and_large_correlated(plan):
    best = {
        epsilon: choice.candidates(plan, epsilon, SGD)[0].name for epsilon in (0.5, 2.0, 8.0)
    }
    assert best == {
        0.5: 'gaussian, poisson',
        2.0: 'banded, cyclic_poisson of 4',
        8.0: 'banded, cyclic_poisson of 16',
    }


def test_figures_at_epsilon_8(plan):
    found = {each.name: each.model_noise for each in choice.candidates(plan, 8.0, SGD)}
    for name, expected in (
        ('gaussian, poisson', 0.0852),
        ('gaussian, min_separation', 0.2638),
        ('banded, min_separation', 0.0587),
        ('banded, cyclic_poisson of 16', 0.0459),
        ('tree, min_separation', 0.1064),
        ('tree restarted every 50, min_separation', 0.0991),
    ):
        np.testing.assert_allclose(found[name], expected, rtol=5e-3)


def test_noise_in_the_model_is_what_sgd_makes_of_draws(plan):
    candidates = {each.name: each for each in choice.candidates(plan, 8.0, SGD)}
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


def test_every_pair_is_there_and_what_cannot_be_accounted_says_why(plan):
    found = {each.name: each for each in choice.candidates(plan, 8.0, SGD)}
    for mechanism in choice.MECHANISMS:
        for sampling in privacy.SAMPLINGS:
            assert any(name.startswith(f'{mechanism}, {sampling}') for name in found)
    refused = {name for name, each in found.items() if each.plan is None}
    assert {'tree, poisson', 'bisr, cyclic_poisson of 2', 'banded, fixed_size'} <= refused
    assert 'its noise is correlated over rounds' in found['tree, poisson'].reason
    assert 'users come round every 2' in found['blt, cyclic_poisson of 2'].reason


def test_flags_narrow_the_choice(plan):
    trees = choice.candidates(plan, 8.0, SGD, mechanism='tree')
    assert {each.name.split(',')[0] for each in trees} == {'tree', 'tree restarted every 50'}
    slots = privacy.MinSeparation(grouping='slots')
    found = choice.candidates(plan, 8.0, SGD, sampling=slots)
    assert len(found) == 6 and all(each.plan.sampling == slots for each in found)


def test_bands_are_as_many_as_a_run_can_keep(make_plan):
    rare = make_plan('gaussian', num_users=10**6, virtual_clients_per_round=400, rounds=300)
    found = [each.plan for each in choice.candidates(rare, 8.0) if each.plan is not None]
    bands = [
        len(plan.mechanism.strategy.numerator)
        for plan in found
        if plan.mechanism.name == 'banded'
    ]
    assert max(bands) == choice.MOST_BANDS


def test_options_make_the_same_mechanism_and_sampler(plan):
    for each in choice.candidates(plan, 8.0, SGD):
        if each.plan is None:
            continue
        options = choice.options(each.plan)
        classes = [
            privacy.MECHANISMS[options['mechanism']],
            privacy.SAMPLINGS[options['sampling']],
        ]
        made = []
        for cls in classes:
            fields = {field.name for field in dataclasses.fields(cls)}
            made.append({name: value for name, value in options.items() if name in fields})
        solved = each.plan.mechanism
        again = dataclasses.replace(
            plan,
            mechanism=classes[0](solved.clip_norm, solved.noise_multiplier, **made[0]),
            sampling=classes[1](**made[1]),
        )
        assert again == each.plan, each.name


def test_the_sentence_names_the_best_and_the_next_kind(plan):
    text = choice.sentence(choice.candidates(plan, 8.0, SGD))
    assert text.startswith(
        'Least noise in the model: banded, cyclic_poisson of 16, whose noise'
    )
    assert text.endswith('; with banded, min_separation it is 1.28 times as much.')
    text = choice.sentence(choice.candidates(plan, 0.5, SGD))
    assert text.startswith(
        'Least noise in the model: gaussian, poisson, whose rounds are independent, amplified'
    )


def test_what_cannot_be_calibrated_is_last_and_says_why(make_plan):
    tiny = make_plan('gaussian', num_users=16, rounds=4, delta=1e-12)
    found = choice.candidates(tiny, 1e-9)
    assert found[-1].plan is None
    unreached = [each for each in found if 'target_epsilon' in each.reason]
    assert unreached
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
        [(each.name, each.model_noise) for each in choice.candidates(each_plan, 8.0, SGD)]
        for each_plan in (plan, other)
    ]
    assert names[0] == names[1]
