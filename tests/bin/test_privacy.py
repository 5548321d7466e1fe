"""bin/privacy.py as it is called, and the flags that it shares with training."""

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

# What a training program does with the flags: no default clip.
PLAN_OF_FLAGS = """
import json
from flags import plan_flags, program
from absl import flags
plan_flags.define()
def main(_):
    plan = plan_flags.plan(3400)
    print(json.dumps(plan.to_json() | {'epsilon': plan.epsilon()}))
program.run(main)
"""


@pytest.fixture(scope='module')
def run(privacy_process):
    def call(*arguments):
        code, out, err, heavy = privacy_process(*arguments)
        assert code == 0, err
        assert heavy == []
        return out

    return call


@pytest.fixture(scope='module')
def refused(privacy_process):
    """Runs what must fail; returns the message, of one line."""

    def call(*arguments, script=None):
        code, out, err, _ = privacy_process(*arguments, script=script)
        assert code != 0 and out == ''
        assert err.startswith('error: ') and '\n' not in err.strip()
        return err

    return call


@pytest.fixture(scope='module')
def flags_plan(privacy_process):
    def call(*arguments):
        code, out, err, _ = privacy_process(*arguments, script=PLAN_OF_FLAGS)
        assert code == 0, err
        return json.loads(out)

    return call


def test_starts_in_under_three_seconds_of_computing_and_without_tensorflow():
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
    assert float(seconds) < 3
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
    assert time.monotonic() - begin < 20
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
    ],
)
def test_calibrate_and_back(run, arguments, name):
    solve_for = name.removesuffix('_planned')
    solved = json.loads(
        run('calibrate', '--json', '--target_epsilon=8', f'--solve_for={solve_for}', *arguments)
    )
    assert solved['solved_for'] == solve_for
    values = ('num_users', 'noise_multiplier', 'rounds_planned')
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


DEMO = [
    '--num_users=40000',
    '--virtual_clients_per_round=400',
    '--users_per_virtual_client=2',
    '--rounds=100',
    '--target_epsilon=8',
    '--strategy_momentum=0.9',
]


def test_plan_names_all_candidates_and_the_crossings(run):
    answer = json.loads(run('plan', *DEMO, '--json'))
    candidates = answer['candidates']
    assert len(candidates) == 27
    for each in candidates:
        if each['reason']:
            assert each['model_noise'] is None and each['epsilon_user'] is None
        else:
            assert 7.99 < each['epsilon_user'] <= 8
    assert answer['chosen']['cycle_rounds'] == 16
    assert answer['crossing']['epsilon'] == pytest.approx(0.79, abs=0.01)
    assert answer['crossing_without_amplified_bands']['epsilon'] == pytest.approx(
        3.61, abs=0.02
    )
    assert answer['reason'].startswith('Least noise in the model: banded')
    trees = run('plan', *DEMO, '--mechanism=tree', '--sampling=min_separation')
    assert 'banded' not in trees and 'Least noise in the model: tree restarted' in trees


def test_what_auto_chooses_is_what_its_flags_say(privacy_process, tmp_path):
    demo = ['--clip_norm=1', *DEMO[1:]]
    script = PLAN_OF_FLAGS.replace('plan(3400)', 'plan(40_000)')
    code, out, err, _ = privacy_process(*demo, '--mechanism=auto', script=script)
    assert code == 0, err
    said, chosen = out.splitlines()
    assert said.startswith('mechanism=auto: Least noise in the model: banded, cyclic_poisson')
    named = ['--mechanism=banded', '--sampling=cyclic_poisson', '--cycle_rounds=16']
    _, out, _, _ = privacy_process(*demo, *named, script=script)
    assert json.loads(out) == json.loads(chosen)
    assert json.loads(chosen)['mechanism']['name'] == 'banded'
    # A run that goes on does what its config.json names, whatever would be chosen now.
    plan = json.loads(chosen)
    plan['sampling']['cycle_rounds'] = 8
    (tmp_path / 'config.json').write_text(json.dumps({'plan': plan}))
    script = script.replace(
        '    plan =', f'    plan_flags.follow({str(tmp_path)!r})\n    plan =', 1
    )
    code, out, err, _ = privacy_process(*demo, '--mechanism=auto', script=script)
    assert code == 0, err
    resumed = json.loads(out)
    assert resumed['sampling'] == {'name': 'cyclic_poisson', 'cycle_rounds': 8}
    assert resumed['mechanism']['name'] == 'banded'
    assert 7.99 < resumed['epsilon'] <= 8
    # What is given in spite of it stays, and is then refused as another configuration.
    given = ['--mechanism=auto', '--sampling=min_separation']
    _, out, _, _ = privacy_process(*demo, *given, script=script)
    assert json.loads(out)['sampling']['name'] == 'min_separation'


def test_strategies_are_made_for_the_servers_schedule(privacy_process):
    """By default for the server's own, where a program has the flags of one."""
    flags = (
        "flags.DEFINE_float('server_momentum', 0.0, '')\n"
        "flags.DEFINE_string('server_lr_schedule', 'constant', '')\n"
        "flags.DEFINE_string('server_optimizer', 'sgd', '')\n"
    )
    script = PLAN_OF_FLAGS.replace('def main', flags + 'def main')
    noise = ['--clip_norm=1', '--noise_multiplier=5', '--mechanism=banded', '--bands=4']
    by_server, by_strategy, adam, given = (
        json.loads(privacy_process(*noise, *more, script=script)[1])['mechanism']
        for more in (
            ['--server_momentum=0.5', '--server_lr_schedule=step'],
            ['--strategy_momentum=0.5', '--strategy_lr_schedule=step'],
            ['--server_optimizer=adam', '--server_lr_schedule=step'],
            ['--server_momentum=0.5', '--strategy_lr_schedule=constant'],
        )
    )
    assert by_server == by_strategy and by_server['strategy_lr_schedule'] == 'step'
    assert adam['strategy_momentum'] == 0.9
    assert given['strategy_lr_schedule'] == 'constant'
    assert given['strategy'] != by_server['strategy']


def test_auto_says_when_nothing_reaches_the_target(privacy_process):
    arguments = ['--clip_norm=1', '--mechanism=auto', '--target_epsilon=1e-9', '--delta=1e-12']
    arguments += ['--sampling=min_separation']
    code, _, err, _ = privacy_process(*arguments, script=PLAN_OF_FLAGS)
    assert code != 0 and 'no candidate reaches it' in err


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
        (['epsilon', 'more', *GOLDEN], "unexpected argument 'more'"),
        (['extrapolate', *GOLDEN, '--populations=10'], 'all smaller than a round'),
        (['extrapolate', *GOLDEN, '--noise_cohort_size=320'], 'simulates a deployment already'),
    ],
)
def test_bad_input_is_refused_in_one_line(refused, arguments, message):
    assert message in refused(*arguments)


def test_flags_without_privacy_are_no_privacy(flags_plan):
    plan = flags_plan()
    assert plan['mechanism'] == {'name': 'none', 'clip_norm': None, 'noise_multiplier': 0.0}
    assert plan['sampling'] == {'name': 'poisson', 'grouping': 'groups'}


@pytest.mark.parametrize(
    'arguments, mechanism, sampling',
    [
        (['--clip_norm=1'], 'clip_only', 'poisson'),
        (['--clip_norm=1', '--noise_multiplier=0'], 'clip_only', 'poisson'),
        (['--clip_norm=1', '--noise_multiplier=1'], 'gaussian', 'poisson'),
        (
            ['--clip_norm=1', '--noise_multiplier=1', '--mechanism=tree'],
            'tree',
            'min_separation',
        ),
        (
            ['--clip_norm=1', '--noise_multiplier=1', '--sampling=min_separation'],
            'gaussian',
            'min_separation',
        ),
    ],
)
def test_mechanism_and_sampling_are_derived(flags_plan, arguments, mechanism, sampling):
    plan = flags_plan(*arguments)
    assert plan['mechanism']['name'] == mechanism and plan['sampling']['name'] == sampling


@pytest.mark.parametrize('mechanism', ['gaussian', 'adaptive_gaussian', 'tree'])
def test_target_epsilon_calibrates(flags_plan, mechanism):
    plan = flags_plan('--clip_norm=1', '--target_epsilon=9', f'--mechanism={mechanism}')
    assert 8.999 < plan['epsilon'] <= 9
    assert plan['mechanism']['noise_multiplier'] > 0.5


@pytest.mark.parametrize(
    'sampling, arguments, grouping',
    [
        ({'name': 'poisson'}, [], 'slots'),
        ({'name': 'poisson'}, ['--grouping=groups'], 'groups'),
        ({'name': 'poisson', 'grouping': 'groups'}, [], 'groups'),
        ({'name': 'poisson', 'grouping': 'slots'}, [], 'slots'),
        ({'name': 'min_separation'}, ['--mechanism=tree'], 'slots'),
        ({'name': 'fixed_size'}, ['--sampling=fixed_size'], None),
        ({'name': 'poisson'}, ['--sampling=fixed_size'], None),
        ({'name': 'some_day'}, [], 'groups'),
        (None, [], 'groups'),
    ],
)
def test_a_run_goes_on_in_the_grouping_that_it_began_with(
    privacy_process, tmp_path, sampling, arguments, grouping
):
    if sampling is not None:
        (tmp_path / 'config.json').write_text(json.dumps({'plan': {'sampling': sampling}}))
    script = PLAN_OF_FLAGS.replace(
        '    plan =', f'    plan_flags.follow({str(tmp_path)!r})\n    plan =', 1
    )
    noise = ['--clip_norm=1', '--noise_multiplier=2']
    code, out, err, _ = privacy_process(*noise, *arguments, script=script)
    assert code == 0, err
    assert json.loads(out)['sampling'].get('grouping') == grouping


def test_options_reach_the_plan(flags_plan):
    plan = flags_plan(
        '--clip_norm=1',
        '--noise_multiplier=5',
        '--mechanism=tree_adaptive',
        '--restart_rounds=20',
        '--tree_completion',
        '--target_unclipped_quantile=0.8',
        '--adaptive_clip_learning_rate=0.3',
        '--clipped_count_stddev=3',
        '--min_separation=4',
        '--max_participations=9',
        '--delta=1e-5',
        '--noise_cohort_size=64',
    )
    assert plan['mechanism'] == {
        'name': 'tree_adaptive',
        'clip_norm': 1.0,
        'noise_multiplier': 5.0,
        'restart_rounds': 20,
        'tree_completion': True,
        'efficient': True,
        'target_unclipped_quantile': 0.8,
        'adaptive_clip_learning_rate': 0.3,
        'clipped_count_stddev': 3.0,
    }
    assert plan['sampling'] == {
        'name': 'min_separation',
        'min_separation': 4,
        'max_participations': 9,
        'grouping': 'groups',
    }
    assert plan['delta'] == 1e-5 and plan['noise_cohort_size'] == 64


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--noise_multiplier=1'], 'noise_multiplier=1.0 without clip_norm'),
        (['--target_epsilon=8'], 'target_epsilon=8.0 without clip_norm'),
        (
            ['--clip_norm=1', '--target_epsilon=8', '--noise_multiplier=1'],
            'the target decides the noise; give one of the two',
        ),
        (
            ['--clip_norm=1', '--target_epsilon=8', '--mechanism=none'],
            'target_epsilon=8.0 with mechanism=none: it adds no noise',
        ),
        (['--clip_norm=1', '--mechanism=none'], 'it neither clips nor noises'),
        (['--clip_norm=1', '--mechanism=gaussian'], 'both must be positive'),
        (['--clip_norm=1', '--noise_multiplier=1', '--mechanism=clip_only'], 'no noise'),
        (['--mechanism=gauss'], "mechanism='gauss': expected one of none"),
        (['--sampling=all'], "sampling='all': expected one of poisson"),
        (
            ['--clip_norm=1', '--noise_multiplier=1', '--restart_rounds=8'],
            'restart_rounds=8: an option of tree and tree_adaptive, not of gaussian',
        ),
        (
            ['--clip_norm=1', '--noise_multiplier=1', '--notree_completion'],
            'tree_completion=False: an option of tree and tree_adaptive, not of gaussian',
        ),
        (['--min_separation=3'], 'an option of min_separation, not of poisson'),
        (
            ['--clip_norm=1', '--noise_multiplier=4', '--mechanism=adaptive_gaussian'],
            'expected at least 41 virtual clients a round',
        ),
        (['--clip_norm=1', '--noise_cohort_size=64'], 'there is no noise to scale'),
    ],
)
def test_contradicting_flags_are_refused_in_one_line(refused, arguments, message):
    assert message in refused(*arguments, script=PLAN_OF_FLAGS)
