"""bin/privacy.py plan and --mechanism=auto, which train with what it chooses."""

import json

import pytest

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


def test_what_auto_chooses_is_what_its_flags_say(privacy_process, tmp_path, plan_of_flags):
    demo = ['--clip_norm=1', *DEMO[1:]]
    script = plan_of_flags.replace('plan(3400)', 'plan(40_000)')
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


def test_strategies_are_made_for_the_servers_schedule(privacy_process, plan_of_flags):
    """By default for the server's own, where a program has the flags of one."""
    flags = (
        "flags.DEFINE_float('server_momentum', 0.0, '')\n"
        "flags.DEFINE_string('server_lr_schedule', 'constant', '')\n"
        "flags.DEFINE_string('server_optimizer', 'sgd', '')\n"
    )
    script = plan_of_flags.replace('def main', flags + 'def main')
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


def test_auto_says_when_nothing_reaches_the_target(privacy_process, plan_of_flags):
    arguments = ['--clip_norm=1', '--mechanism=auto', '--target_epsilon=1e-9', '--delta=1e-12']
    arguments += ['--sampling=min_separation']
    code, _, err, _ = privacy_process(*arguments, script=plan_of_flags)
    assert code != 0 and 'no candidate reaches it' in err
