"""Flags of a plan, which bin/privacy.py shares with the programs that train."""

import json

import pytest


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
    privacy_process, tmp_path, sampling, arguments, grouping, plan_of_flags
):
    if sampling is not None:
        (tmp_path / 'config.json').write_text(json.dumps({'plan': {'sampling': sampling}}))
    script = plan_of_flags.replace(
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
def test_contradicting_flags_are_refused_in_one_line(
    refused, arguments, message, plan_of_flags
):
    assert message in refused(*arguments, script=plan_of_flags)
