"""bin/privacy.py tuned: a search's statement against what its own files come to."""

import json

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import selection
from dp_fedemb.privacy.reporting import recomputation
from dp_fedemb.privacy.reporting import tuned


def plan(noise=1.0, **changes):
    values = {'num_users': 3400, 'virtual_clients_per_round': 32, 'rounds': 20}
    return privacy.PrivacyPlan(
        users_per_virtual_client=8,
        mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=noise),
        **(values | changes),
    )


# Settings that cost differently, and none that repeats.
PLANS = [plan(), plan(1.25), plan(2.0, virtual_clients_per_round=64)]


def statement(mode):
    number = 10.0 if mode == 'selection' else len(PLANS)
    cost = privacy.Selection(number).epsilon if mode == 'selection' else None
    cost = cost or selection.composed_epsilon
    epsilons = {
        f'epsilon_{unit}': rounding.rounded_up(selection.total_epsilon(PLANS, cost, unit))
        for unit in ('user', 'present_absent')
    }
    alone = privacy.statement(PLANS[1], statistical_distance=1e-9)
    return tuned.statement(
        alone,
        mode,
        epsilons=epsilons,
        delta=PLANS[0].guarantee_delta,
        trials=number,
        details='geometric',
        distribution='geometric' if mode == 'selection' else None,
        commands={recomputation.command(each, each.rounds): 1 for each in PLANS},
    )


@pytest.fixture
def check(privacy_process, tmp_path):
    """Function from a statement to exit code and answer."""

    def call(found):
        (tmp_path / 'privacy.json').write_text(json.dumps(found))
        code, out, error, heavy = privacy_process('tuned', str(tmp_path), '--json')
        assert heavy == [] and error == ''
        return code, json.loads(out)

    return call


@pytest.mark.parametrize('mode', ['selection', 'composed'])
def test_a_statement_is_computed_again(check, mode):
    found = statement(mode)
    code, answer = check(found)
    assert (code, answer['problems']) == (0, [])
    for name in ('epsilon_user', 'epsilon_present_absent', 'delta'):
        assert answer[name] == pytest.approx(found[name], rel=1e-6), name


def loudest(found):
    commands = found['trials']['commands']
    return next(each for each in commands if '--noise_multiplier=1.0' in each)


@pytest.mark.parametrize('mode', ['selection', 'composed'])
def test_what_does_not_fit_is_told(check, mode):
    found = statement(mode)
    for name in ('epsilon_user', 'epsilon_present_absent', 'delta'):
        code, answer = check({**found, name: found[name] * 0.999})
        assert code == 1 and name in answer['problems'][0]
    # The setting that costs most, left out or with a quarter more noise.
    kept = {k: v for k, v in found['trials']['commands'].items() if k != loudest(found)}
    code, answer = check({**found, 'trials': {**found['trials'], 'commands': kept}})
    assert code == 1 and any('comes to' in each for each in answer['problems'])
    # More trials than are stated cost more than is stated.
    code, answer = check({**found, 'trials': {**found['trials'], 'number': 30}})
    assert code == 1
    other = found['trials']['released'].replace('1.25', '1.5')
    code, answer = check({**found, 'trials': {**found['trials'], 'released': other}})
    assert code == 1 and 'none of the settings' in answer['problems'][0]
    # One mode's words over the other's figures.
    other = {'selection': 'composed', 'composed': 'selection'}[mode]
    drawn = {**found['trials'], 'distribution': 'geometric'}
    assert check({**found, 'tuning_mode': other, 'trials': drawn})[0] == 1


def test_what_is_no_search_is_refused(refused, tmp_path):
    assert 'name its directory' in refused('tuned')
    assert 'no such file' in refused('tuned', str(tmp_path))
    path = tmp_path / 'privacy.json'
    path.write_text('no')
    assert 'damaged' in refused('tuned', str(tmp_path))
    path.write_text(json.dumps(privacy.statement(plan())))
    assert 'not the statement of a composed search' in refused('tuned', str(path))
    broken = statement('selection')
    path.write_text(json.dumps({**broken, 'trials': {'number': 10}}))
    assert 'distribution' in refused('tuned', str(path))
