"""What is chosen from counts, what is said before and after, and when a run stops."""

import dataclasses
import math
import re

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.runs import advice
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import divergence
from dp_fedemb.runs import summary


@pytest.mark.parametrize('users', [1, 7, 24, 247, 3_000, 10**6])
@pytest.mark.parametrize('each', [1, 10, 300])
@pytest.mark.parametrize('private', [True, False])
def test_flags_fit_every_collection(users, each, private):
    chosen = advice.flags(advice.Collection(users, users * each, 64, 3), private)
    cohort = chosen['virtual_clients_per_round'] * chosen['users_per_virtual_client']
    assert 1 <= cohort <= users
    assert chosen['rounds'] >= 20 and 1 <= chosen['local_epochs'] <= 5
    assert ('clip_norm' in chosen) == private
    assert chosen['augment'] == 'photo' and chosen['backbone'] == 'resnet18'
    plan = privacy.PrivacyPlan(
        num_users=max(users, 2),
        virtual_clients_per_round=chosen['virtual_clients_per_round'],
        users_per_virtual_client=chosen['users_per_virtual_client'],
        rounds=chosen['rounds'],
        mechanism=privacy.NoPrivacy(),
        sampling=privacy.Poisson(),
    )
    assert plan.rounds == chosen['rounds']


def plan_of(users, epsilon):
    chosen = advice.flags(advice.Collection(users, 10 * users, 28, 1), True)
    plan = privacy.PrivacyPlan(
        num_users=users,
        virtual_clients_per_round=chosen['virtual_clients_per_round'],
        users_per_virtual_client=chosen['users_per_virtual_client'],
        rounds=chosen['rounds'],
        mechanism=privacy.Gaussian(chosen['clip_norm'], 1.0),
        sampling=privacy.Poisson(),
    )
    return privacy.calibrate(plan, epsilon)


def test_too_few_users_is_said_with_what_would_help():
    plan, weights = plan_of(1_500, 8.0), 30_000
    text = advice.warning(plan, weights, 8.0)
    assert text.startswith('WARNING: too few users') and '--synthetic' not in text
    assert 'bin/pretrain.py --task=synthetic' in text and '--freeze' in text
    # Each remedy is enough by itself, and a little less of it is not.
    users = int(text.split('users: ')[1].split()[0].replace(',', ''))
    assert users > 1_500 and not advice.warning(plan_of(users + 100, 8.0), weights, 8.0)
    assert advice.warning(plan_of(users // 2, 8.0), weights, 8.0)
    epsilon = float(text.split('epsilon: ')[1].split()[0])
    assert not advice.warning(plan_of(1_500, epsilon * 1.01), weights, None)
    fewer = int(text.split('weights: ')[1].split()[0].replace(',', ''))
    assert advice.signal(plan, fewer) >= advice.LEAST_SIGNAL > advice.signal(plan, 2 * fewer)
    none = dataclasses.replace(plan, mechanism=privacy.NoPrivacy())
    assert not advice.warning(none, weights, None)


def test_what_is_advised_is_of_use():
    text = advice.warning(plan_of(27, 8.0), 50_000, 8.0)
    assert 'users: ' in text and '--pretrained=public' in text
    assert 'epsilon: ' not in text and 'noised weights' not in text
    assert 'No epsilon up to 100 and no freezing' in text.splitlines()[-1]


@pytest.mark.parametrize('cohort', [300, 4_000])
def test_a_simulated_deployment_with_too_few_users_says_how_many_it_would_take(cohort):
    plan = privacy.PrivacyPlan(
        num_users=839,
        virtual_clients_per_round=4,
        users_per_virtual_client=32,
        rounds=20,
        mechanism=privacy.Gaussian(1.0, 1.0),
        sampling=privacy.Poisson(),
        noise_cohort_size=cohort,
    )
    weights = 500 * cohort**2
    text = advice.warning(plan, weights, None)
    found = re.search(r'users: ([\d,]+) instead of ([\d,]+)', text)
    users, there_are = (int(number.replace(',', '')) for number in found.groups())
    assert there_are == 839 * cohort // 4 < users
    grown = dataclasses.replace(plan, noise_cohort_size=math.ceil(users * 4 / 839))
    assert not advice.warning(privacy.calibrate(grown, plan.epsilon()), weights, None)


def test_correlated_noise_counts_for_what_it_leaves_in_the_model():
    weights = 30_624
    plan = privacy.PrivacyPlan(
        num_users=40_000,
        virtual_clients_per_round=200,
        users_per_virtual_client=4,
        rounds=100,
        mechanism=privacy.Banded(0.1, 3.115, strategy_momentum=0.9),
        sampling=privacy.CyclicPoisson(4),
    )
    draws = np.cumsum(np.square(np.cumsum(plan.mechanism.strategy.noise(100))))
    kept = draws.mean() / 50.5
    independent = math.sqrt(100) * 200 / (3.115 * math.sqrt(weights))
    found = advice.signal(plan, weights)
    assert found == pytest.approx(independent / math.sqrt(kept)) and found > 2 * independent
    assert independent < advice.LEAST_SIGNAL and not advice.warning(plan, weights, 2.0)
    gaussian = dataclasses.replace(
        plan, mechanism=privacy.Gaussian(0.1, 3.115), sampling=privacy.Poisson()
    )
    assert advice.signal(gaussian, weights) == pytest.approx(independent, rel=1e-12)


def test_all_updates_zeroed_stops_the_run_at_once():
    watch = divergence.Divergence(math.inf)
    watch.check({'round': 1, 'virtual_clients': 4.0, 'update_non_finite': 3.0})
    watch.check({'round': 2, 'virtual_clients': 0.0, 'update_non_finite': 0.0})
    # Nothing is known of a private round, and nothing is told by going on.
    watch.check({'round': 3})
    with pytest.raises(ValueError, match='round 4: every update was not finite.*client_lr'):
        watch.check({'round': 4, 'virtual_clients': 4.0, 'update_non_finite': 4.0})


def test_falling_recall_far_beyond_the_clip_stops_the_run():
    def rows(norm, recalls):
        for number, recall in enumerate(recalls):
            yield {'round': number, 'update_norm': norm, 'recall@FAR=0.001': recall}

    for norm, recalls in [(0.5, [0.5, 0.4, 0.3, 0.2]), (50.0, [0.5, 0.4, 0.45, 0.3])]:
        watch = divergence.Divergence(0.1)
        for row in rows(norm, recalls):
            watch.check(row)
    watch = divergence.Divergence(0.1)
    with pytest.raises(ValueError, match='round 2: recall falls, .* far beyond clip_norm=0.1'):
        for row in rows(50.0, [0.5, 0.4, 0.3]):
            watch.check(row)


@pytest.mark.parametrize('trained, said', [(0.3, False), (0.1, True)])
def test_the_last_line_says_that_training_made_it_worse(tmp_path, trained, said):
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    (tmp_path / 'run').mkdir()
    name = 'recall@FAR=0.001'
    scores = {'untrained': {name: 0.2}, 'trained': {name: trained}}
    directory.write_json('evaluation.json', scores)
    plan = dataclasses.replace(plan_of(400, 8.0), mechanism=privacy.NoPrivacy())
    directory.write_json('privacy.json', privacy.statement(plan, 100))
    last = summary.text(directory).splitlines()[-1]
    assert last.startswith(f'WORSE THAN ITS START: {name} 0.1000') == said
