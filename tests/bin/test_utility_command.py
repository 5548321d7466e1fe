"""bin/privacy.py utility as it is called."""

import json

import pytest

RATIOS = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
SETTING = ['--users_per_virtual_client=2', '--rounds=100', '--strategy_momentum=0.9']


def recall(ratio):
    return 0.45 / (1 + (ratio / 0.01) ** 1.5)


@pytest.fixture
def curve(tmp_path):
    """Recalls that scatter by 0.005 to both sides in turn."""
    rows = [f'{x},{recall(x) + 0.005 * (-1) ** i:.6f}' for i, x in enumerate(RATIOS)]
    path = tmp_path / 'curve.csv'
    path.write_text('\n'.join(['ratio,recall', *rows]) + '\n')
    return path


def test_users_for_a_drop_with_their_uncertainty(privacy_process, curve, tmp_path):
    arguments = [
        'utility',
        f'--curve={curve}',
        *SETTING,
        '--target_epsilon=8',
        '--cohorts=2048',
        '--populations=1000000',
        f'--output={tmp_path / "utility.png"}',
    ]
    code, out, err, heavy = privacy_process(*arguments, '--json')
    assert code == 0, err
    assert heavy == []
    answer = json.loads(out)
    fitted, low, high = answer['ratio']
    assert low < 0.0014044 < high and fitted == pytest.approx(0.0014, rel=0.3)
    assert not answer['extrapolated']
    (users,) = answer['users']
    for kind in ('slots', 'groups', 'correlated'):
        middle, most, fewest = users[kind]['num_users']
        assert fewest <= middle and (most is None or middle <= most)
    assert users['correlated']['num_users'][0] < users['groups']['num_users'][0]
    assert users['groups']['num_users'][0] < users['slots']['num_users'][0]
    assert (tmp_path / 'utility.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], 'utility without target_epsilon'),
        (['--target_epsilon=8'], 'expected either runs or curve'),
        (['--target_epsilon=8', '--runs=/nowhere'], '/nowhere: expected a run'),
        (['--target_epsilon=8', '--runs=/nowhere', '--rounds=9'], 'rounds=9 with runs'),
        (
            ['--target_epsilon=8', '--runs=/nowhere', '--drop=1'],
            "drop='1': expected a number in the range",
        ),
        (['--target_epsilon=8', '--mechanism=tree'], 'all are answered for'),
    ],
)
def test_bad_input_is_refused_in_one_line(privacy_process, arguments, message):
    code, out, err, _ = privacy_process('utility', *arguments)
    assert code != 0 and out == ''
    assert err.startswith('error: ') and message in err and '\n' not in err.strip()


def test_what_the_runs_do_not_bound_is_refused(privacy_process, tmp_path):
    path = tmp_path / 'curve.csv'
    rows = [f'{x / 1e4},{0.45 + 0.01 * (-1) ** i}' for i, x in enumerate(RATIOS)]
    path.write_text('\n'.join(['ratio,recall', *rows]) + '\n')
    arguments = [f'--curve={path}', '--target_epsilon=8', '--recall_floor=0.43']
    code, _, err, _ = privacy_process('utility', *arguments)
    assert code != 0 and 'which the runs do not bound' in err
