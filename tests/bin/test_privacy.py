"""bin/privacy.py epsilon, calibrate, extrapolate and ledger, as they are called."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import ledger

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = str(ROOT / 'bin' / 'privacy.py')
GOLDEN = [
    '--num_users=3400',
    '--virtual_clients_per_round=32',
    '--users_per_virtual_client=8',
    '--noise_multiplier=0.62',
    '--rounds=200',
]


def test_starts_with_little_computing_and_without_tensorflow():
    """A fresh process, imports and all; its processor time, since machines are busy."""
    script = (
        'import resource, runpy, sys, atexit\n'
        f'sys.path.insert(0, {str(ROOT / "bin")!r})\n'
        'def report():\n'
        '    used = resource.getrusage(resource.RUSAGE_SELF)\n'
        '    names = {n.split(".")[0] for n in sys.modules}\n'
        '    print(used.ru_utime + used.ru_stime, *sorted(names), file=sys.stderr)\n'
        'atexit.register(report)\n'
        f'sys.argv[0] = {PROGRAM!r}\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script, 'epsilon', *GOLDEN, '--json'],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *modules = done.stderr.split()
    assert float(seconds) < 10
    assert 'scipy' in modules
    assert not {'tensorflow', 'tensorflow_federated', 'jax', 'matplotlib'} & set(modules)
    assert json.loads(done.stdout)['epsilon_user'] == pytest.approx(22.945, abs=0.0015)


def test_help_answers_at_once():
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', PROGRAM, '--help'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert time.monotonic() - begin < 60
    assert 'tensorflow' not in done.stderr
    for name in ('--num_users', '--solve_for', '--target_epsilon', '--noise_cohort_size'):
        assert name in done.stdout
    for name in [*privacy.MECHANISMS, *privacy.SAMPLINGS]:
        assert name in done.stdout, f'{name} is missing from the help'


def test_epsilon_as_json(run):
    answer = json.loads(run('epsilon', *GOLDEN, '--json'))
    plan = privacy.PrivacyPlan(3400, 32, 8, 200, privacy.Gaussian(1.0, 0.62))
    for unit in ('user', 'present_absent', 'virtual_client'):
        assert answer[f'epsilon_{unit}'] == privacy.rounded_up(plan.epsilon(unit=unit))
    assert 22.945 * 0.999 < answer['epsilon_user'] < 22.945 * 1.005
    assert answer['grouping'] == 'groups' and answer['sampling'] == 'poisson'
    assert answer['delta'] == plan.guarantee_delta
    assert answer['sensitivity_over_clip'] == 2
    assert answer['accountant'] == 'pld'
    assert answer['noise_multiplier'] == 0.62
    assert answer['sampler'] == 'poisson' and answer['mechanism'] == 'gaussian'


def test_epsilon_as_table(run):
    text = run('epsilon', *GOLDEN)
    assert '22.945' in text and '17.569' in text
    assert 'user, replaced               2 C' in text
    assert 'at delta = 0.000131' in text
    assert '(22.945, 0.000131)-differentially private at the level of users' in text


GOLDEN_GROUPS = [
    ('3400', '32', '8', '0.62', '200', 17.570, 22.945, 104.9),
    ('10000', '32', '8', '0.62', '200', 7.170, 8.358, 50.3),
    ('40000', '400', '2', '1.07669', '100', 1.207, 1.641, 8.00),
    ('1000000', '32', '8', '0.62', '200', 0.548, 0.549, 10.8),
    ('100000', '128', '8', '2.48', '200', 0.230, 0.439, 0.635),
]


@pytest.mark.parametrize('n, m, k, z, rounds, absent, replaced, slots', GOLDEN_GROUPS)
def test_table_of_whole_groups(run, n, m, k, z, rounds, absent, replaced, slots):
    """As printed: within half a percent of the client's figures, and hardly below."""
    arguments = [
        'epsilon',
        '--json',
        f'--num_users={n}',
        f'--virtual_clients_per_round={m}',
        f'--users_per_virtual_client={k}',
        f'--noise_multiplier={z}',
        f'--rounds={rounds}',
    ]
    groups = json.loads(run(*arguments))
    for name, expected in (('user', replaced), ('present_absent', absent)):
        assert 0.999 * expected <= groups[f'epsilon_{name}'] <= 1.005 * expected, name
    assert groups['sensitivity_over_clip'] == 2
    assert groups['sensitivity_over_clip_present_absent'] == 1
    answer = json.loads(run(*arguments, '--grouping=slots'))
    assert answer['epsilon_user'] == pytest.approx(slots, rel=2e-3)
    assert answer['grouping'] == 'slots'
    assert answer['epsilon_virtual_client'] == groups['epsilon_virtual_client']


def test_clip_norm_does_not_matter(run):
    plain = json.loads(run('epsilon', *GOLDEN, '--json'))
    clipped = json.loads(run('epsilon', *GOLDEN, '--json', '--clip_norm=0.01'))
    assert clipped['epsilon_user'] == plain['epsilon_user']


def test_noise_beside_its_signal(run):
    text = run('epsilon', *GOLDEN, '--noised_weights=450000', '--signal_to_noise=0.5')
    assert 'largest signal to noise      0.07694' in text  # 32 / (0.62 sqrt(450,000))
    assert 'cohort for 0.5 of it         208' in text
    answer = json.loads(run('epsilon', *GOLDEN, '--json', '--noised_weights=450000'))
    assert answer['required_cohort'] == 416
    assert 'required_cohort' not in json.loads(run('epsilon', *GOLDEN, '--json'))
    text = run('epsilon', '--num_users=3400', '--mechanism=clip_only', '--noised_weights=9')
    assert 'no noise' in text


def _release(store, run_name, rounds):
    plan = privacy.PrivacyPlan(3400, 32, 8, 200, privacy.Gaussian(1.0, 0.62))
    statement = privacy.statement(plan, rounds)
    entry = ledger.entry_of(statement, plan, run_name, f'/runs/{run_name}')
    ledger.append(store, entry)
    return statement['epsilon_user']


def test_ledger_lists_releases_and_their_sum(run, tmp_path):
    (tmp_path / 'meta.json').touch()
    assert 'no releases' in run('ledger', str(tmp_path))
    _release(tmp_path, 'first', 20)
    total = _release(tmp_path, 'first', 200) + _release(tmp_path, 'second', 10)
    text = run('ledger', str(tmp_path))
    assert '/runs/first' in text and '/runs/second' in text
    assert f'sum of 2 runs: ({privacy.rounded_up_text(total)}, 0.000261)' in text
    answer = json.loads(run('ledger', str(tmp_path), '--json'))
    assert answer['epsilon_user'] == pytest.approx(total) and answer['runs'][0] == 'first'
    assert len(answer['entries']) == 3 and answer['problems'] == []
    (tmp_path / ledger.LEDGER).unlink()
    text = run('ledger', str(tmp_path))
    assert 'PROBLEM: the ledger is lost: it had 3 entries' in text
    _release(tmp_path, '\x1b[2J\nsum of 0 runs', 10)
    text = run('ledger', str(tmp_path))
    assert '\x1b' not in text and r'/runs/\x1b[2J\nsum of 0 runs' in text
    assert 'at least the sum of 1 runs, which are all that can be read: (' in text


def test_tree_with_its_rho(run):
    answer = json.loads(
        run(
            'epsilon',
            '--json',
            '--num_users=4096',
            '--noise_multiplier=8',
            '--rounds=64',
            '--mechanism=tree',
            '--restart_rounds=16',
            '--tree_completion',
        )
    )
    assert answer['sampler'] == 'min_separation'
    assert answer['participation']['max_participations'] == 4
    # 5 nodes a tree and user, sensitivity 2C: 4 * 5 * 4 / (2 * 64).
    assert answer['rho'] == pytest.approx(4 * 5 * 4 / 128)


def test_simulation_is_labelled(run):
    arguments = ['epsilon', *GOLDEN, '--noise_cohort_size=320']
    answer = json.loads(run(*arguments, '--json'))
    assert answer['epsilon_user'] is None and answer['hypothetical']
    assert answer['deployment']['num_users'] == 34_000
    assert answer['deployment']['epsilon_user'] > 0
    text = run(*arguments)
    assert 'of the simulated deployment:' in text and 'NOT PRIVATE' in text


def test_no_noise_is_not_private(run):
    for mechanism in ('none', 'clip_only'):
        text = run('epsilon', '--num_users=3400', f'--mechanism={mechanism}')
        assert 'NOT PRIVATE' in text and 'at delta' not in text


@pytest.mark.parametrize(
    'arguments, name',
    [
        (['--num_users=3400', '--rounds=200'], 'noise_multiplier'),
        (['--num_users=3400', '--noise_multiplier=2'], 'rounds_planned'),
        (['--noise_multiplier=2', '--rounds=200'], 'num_users'),
        (
            ['--num_users=34000', '--noise_multiplier=0.5', '--rounds=200'],
            'virtual_clients_per_round',
        ),
    ],
)
def test_calibrate_and_back(run, arguments, name):
    solve_for = name.removesuffix('_planned')
    solved = json.loads(
        run('calibrate', '--json', '--target_epsilon=8', f'--solve_for={solve_for}', *arguments)
    )
    assert solved['solved_for'] == solve_for
    values = ('num_users', 'noise_multiplier', 'rounds_planned', 'virtual_clients_per_round')
    again = [f'--{key.removesuffix("_planned")}={solved[key]}' for key in values]
    back = json.loads(run('epsilon', '--json', *again))
    assert back['epsilon_user'] == solved['epsilon_user'] <= 8
    # One round or one user more or less is within a percent here.
    exact = 1e-4 if name == 'noise_multiplier' else 1e-2
    assert back['epsilon_user'] == pytest.approx(8, rel=exact)


def test_extrapolation_draws_and_lists(run, tmp_path):
    path = tmp_path / 'plan.png'
    arguments = [
        'extrapolate',
        *GOLDEN,
        '--populations=3400,100000',
        '--cohorts=32,128',
        f'--output={path}',
    ]
    text = run(*arguments)
    assert path.read_bytes()[:4] == b'\x89PNG'
    assert '22.945' in text and '100,000' in text and '2.48' in text
    # With a target, and in one object.
    answer = json.loads(
        run(
            'extrapolate',
            *GOLDEN,
            '--populations=100000',
            '--cohorts=128,256',
            '--target_epsilon=18',
            f'--output={path}',
            '--json',
        )
    )
    assert answer['points'][0]['epsilon_user'] == 0.439
    needed = {r['virtual_clients_per_round']: r['num_users'] for r in answer['users_needed']}
    assert needed.keys() == {128, 256} and all(2800 < n < 3900 for n in needed.values())


@pytest.mark.parametrize(
    'mechanism, sampling, options',
    [
        (privacy.Gaussian(0.3, 0.62), privacy.FixedSize(), {}),
        (privacy.Gaussian(0.3, 0.62), privacy.Poisson('slots'), {'delta': 1e-7}),
        (privacy.Gaussian(0.3, 0.62), privacy.Poisson(), {'noise_cohort_size': 320}),
        (privacy.AdaptiveGaussian(0.3, 0.62), privacy.Poisson(), {}),
        (
            privacy.TreeAdaptive(0.3, 5.0, restart_rounds=9, tree_completion=True),
            privacy.MinSeparation(4, 20),
            {},
        ),
    ],
)
def test_command_of_a_statement_verifies_it(run, mechanism, sampling, options):
    plan = privacy.PrivacyPlan(3400, 32, 8, 150, mechanism, sampling, **options)
    statement = privacy.statement(plan, 99)
    program, *arguments = statement['verify'].split()
    assert program == 'bin/privacy.py'
    answer = json.loads(run(*arguments, '--json'))
    for name in ('epsilon_user', 'epsilon_virtual_client', 'delta', 'rho', 'deployment'):
        assert answer[name] == statement[name], name
    assert answer['rounds_planned'] == 99


@pytest.mark.parametrize(
    'arguments, message',
    [
        (
            ['costs'],
            "command='costs': expected one of epsilon, calibrate, plan, extrapolate, utility,",
        ),
        (['plan', '--num_users=900'], 'plan without target_epsilon: set it'),
        (['plan', *GOLDEN, '--target_epsilon=2'], 'with plan: use epsilon or extrapolate'),
        (
            ['plan', '--num_users=900', '--target_epsilon=2', '--mechanism=adaptive_gaussian'],
            'expected one of gaussian, tree, banded, bisr, blt, or auto',
        ),
        (
            ['plan', '--num_users=900', '--target_epsilon=2', '--bands=4'],
            'bands=4 where mechanism and sampler are yet to be chosen',
        ),
        (
            ['plan', '--num_users=900', '--target_epsilon=2', '--grouping=slots'],
            'grouping=slots where mechanism and sampler are yet to be chosen',
        ),
        (
            ['plan', '--num_users=900', '--target_epsilon=2', '--strategy_momentum=1'],
            'strategy_momentum=1.0: expected a number of at least 0 and below 1',
        ),
        (
            ['epsilon', '--num_users=900', '--noise_multiplier=2', '--mechanism=auto'],
            'mechanism=auto without target_epsilon',
        ),
        (['epsilon'], 'num_users is not given'),
        (['epsilon', '--num_users=3400'], 'epsilon without noise_multiplier'),
        (['epsilon', '--num_users=200', '--noise_multiplier=1'], '(q > 1)'),
        (['epsilon', *GOLDEN, '--delta=0.001'], 'below 1/num_users'),
        (['epsilon', *GOLDEN, '--target_epsilon=8'], 'use calibrate'),
        (
            ['epsilon', *GOLDEN, '--clip_norm=-1'],
            'clip_norm=-1.0: expected a number of at least',
        ),
        (['epsilon', *GOLDEN, '--sampling=fixed_size', '--mechanism=tree'], 'is correlated'),
        (['calibrate', *GOLDEN], 'calibrate without target_epsilon'),
        (['calibrate', *GOLDEN, '--target_epsilon=8'], 'give one of the two'),
        (
            ['calibrate', *GOLDEN, '--target_epsilon=8', '--solve_for=rounds'],
            'rounds=200 with solve_for=rounds: leave it out',
        ),
        (
            ['calibrate', *GOLDEN, '--target_epsilon=8', '--solve_for=num_users'],
            'num_users=3400 with solve_for=num_users: leave it out',
        ),
        (['calibrate', *GOLDEN, '--target_epsilon=8', '--solve_for=delta'], 'solve_for='),
        (
            ['extrapolate', *GOLDEN, '--cohorts=many'],
            "cohorts=['many']: expected whole numbers",
        ),
        (['ledger'], 'ledger without a store'),
        (['ledger', '/nowhere'], 'no such directory'),
        (['ledger', '/no\x1b[2Jwhere'], r'/no\x1b[2Jwhere: no such directory'),
        (['epsilon', 'more', *GOLDEN], "unexpected argument 'more'"),
        (['extrapolate', *GOLDEN, '--populations=10'], 'all smaller than a round'),
        (['extrapolate', *GOLDEN, '--noise_cohort_size=320'], 'simulates a deployment already'),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, arguments, message):
    assert message in refused(*arguments)
