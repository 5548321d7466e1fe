"""What leaves a private selection: the best, its statement, and nothing about the others."""

import json
import stat

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import selection as accounting
from dp_fedemb.privacy.reporting import tuned
from dp_fedemb.tuning import selection


def plan(**changes):
    values = {'num_users': 3400, 'virtual_clients_per_round': 32, 'rounds': 20}
    mechanism = privacy.Gaussian(clip_norm=1.0, noise_multiplier=1.0)
    return privacy.PrivacyPlan(
        users_per_virtual_client=8, mechanism=mechanism, **(values | changes)
    )


def total(mode, trials=10):
    cost = accounting.composed_epsilon
    if mode == 'selection':
        cost = privacy.Selection(trials).epsilon
    plans = [plan()] * (1 if mode == 'selection' else trials)
    return {
        f'epsilon_{unit}': accounting.total_epsilon(plans, cost, unit)
        for unit in ('user', 'present_absent')
    }


@pytest.mark.parametrize('mode', ['composed', 'selection'])
def test_the_statement_has_the_total(mode):
    alone = privacy.statement(plan(), statistical_distance=1e-9, start='fresh')
    epsilons = total(mode)
    found = tuned.statement(
        alone,
        mode,
        epsilons=epsilons,
        delta=alone['delta'],
        trials=10,
        details='ten',
        commands={alone['verify']: 1},
    )
    assert found['epsilon_user'] >= epsilons['epsilon_user'] > alone['epsilon_user']
    assert found['epsilon_user_total'] == found['epsilon_user'] and found['private']
    # Ten times the distance of one trial's draws, and more for the greater epsilon.
    assert found['delta'] > alone['delta'] + 9e-9
    assert not any('hyper-parameters' in line for line in found['not_covered'])
    text = privacy.statement_text(found)
    assert privacy.rounded_up_text(epsilons['epsilon_user']) in text.splitlines()[2]
    assert tuned.MODES[mode] in text and tuned.VERIFY in text
    assert found['trials']['released'] == alone['verify']


def test_ancestors_come_on_top_and_weak_seeds_stay_weak():
    ancestor = privacy.Ancestor('other users', 1.0, 1e-6)
    alone = privacy.statement(plan(), ancestors=[ancestor])
    arguments = {
        'epsilons': total('selection'),
        'delta': alone['delta'],
        'trials': 10,
        'details': 'geometric',
        'commands': {},
    }
    found = tuned.statement(alone, 'selection', **arguments)
    assert found['epsilon_user_total'] == pytest.approx(found['epsilon_user'] + 1, abs=1e-3)
    weak = tuned.statement(privacy.statement(plan(), weak_seed=True), 'selection', **arguments)
    assert not weak['private'] and weak['epsilon_user_total'] is None
    far = privacy.statement(plan(), statistical_distance=0.3)
    assert not tuned.statement(far, 'selection', **arguments)['private']


def test_public_tuning_is_in_the_statement_of_the_run():
    found = privacy.statement(plan(), tuning=tuned.MODES['public'])
    assert not any('hyper-parameters' in line for line in found['not_covered'])
    assert tuned.MODES['public'] in privacy.statement_text(found)
    usual = privacy.statement(plan())
    assert any('hyper-parameters' in line for line in usual['not_covered'])


def test_trials_follow_from_the_seed():
    chosen = privacy.Selection(5)
    first = selection.choices(7, chosen, 3)
    assert first == selection.choices(7, chosen, 3)
    drawn = [selection.choices(seed, chosen, 3) for seed in range(2000)]
    assert [len(each) for each in drawn[:20]] == [chosen.number(seed) for seed in range(20)]
    shares = np.bincount(np.concatenate(drawn), minlength=3) / sum(map(len, drawn))
    assert np.abs(shares - 1 / 3).max() < 0.03


def test_only_the_best_leaves(tmp_path):
    secret = selection.secret_directory(tmp_path)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    seed = selection.secret_seed(secret)
    assert selection.secret_seed(secret) == seed and seed.bit_length() > 64
    for number, score in enumerate((0.2173, 0.9181, 0.4192)):
        run = secret / 'trials' / f'trial_{number}' / 'run'
        (run / 'checkpoints').mkdir(parents=True)
        (run / 'checkpoints' / 'state').write_text('SECRET')
        (run / 'saved_model').mkdir()
        (run / 'saved_model' / 'saved_model.pb').write_text(f'model {score}')
        (run / 'evaluation.json').write_text(json.dumps({'trained': score}))
        (run / 'privacy.json').write_text(json.dumps(privacy.statement(plan())))
    best = selection.best({'trial_0': 0.2173, 'trial_1': 0.9181, 'trial_2': 0.4192})
    assert best == 'trial_1' and selection.best({}) is None
    # A model that diverged has no score, and is not the best for being the first.
    assert selection.best({'a': float('nan'), 'b': None, 'c': 0.1}) == 'c'
    selection.release(
        tmp_path, secret / 'trials' / best / 'run', lambda known: {**known, 'tuning': 'so'}
    )
    selection.forget(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')}
    assert left == {
        'released',
        'released/evaluation.json',
        'released/privacy.json',
        'released/privacy.txt',
        'released/saved_model',
        'released/saved_model/saved_model.pb',
    }
    everything = ''.join(
        path.read_text() for path in (tmp_path / 'released').rglob('*') if path.is_file()
    )
    for word in ('SECRET', str(seed), 'trial_', '0.2173', '0.4192'):
        assert word not in everything, word
