#!/usr/bin/env python3
"""Answers what a setting costs, and what a target takes; needs no TensorFlow.

    bin/privacy.py epsilon --num_users=3400 --noise_multiplier=0.62 --rounds=200
    bin/privacy.py calibrate --num_users=100000 --target_epsilon=8 --rounds=200
    bin/privacy.py plan --num_users=3400 --noise_multiplier=0.62 --rounds=200

`epsilon` accounts a setting. `calibrate` finds the noise multiplier, the rounds or the
users (--solve_for) for a target epsilon. `plan` draws epsilon against population and
cohort with the noise on the mean kept as it is: how many users does it take?
"""

import dataclasses
import json

from absl import app
from absl import flags

from flags import plan_flags
from flags import program

FLAGS = flags.FLAGS

flags.DEFINE_integer('num_users', None, 'N: users in the population.')
# Epsilon does not depend on the clip norm, so that it need not be given here.
plan_flags.define(clip_norm_default=1.0)
# So that --help shows them.
flags.DEFINE_string(
    'solve_for', 'noise_multiplier', 'calibrate: noise_multiplier, rounds or num_users.'
)
flags.DEFINE_bool('json', False, 'Print one JSON object instead of a table.')
flags.DEFINE_list(
    'populations',
    None,
    'plan: numbers of users; from num_users to a thousandfold by default.',
)
flags.DEFINE_list(
    'cohorts',
    None,
    'plan: virtual clients a round; from the given one to its 32-fold by default.',
)
flags.DEFINE_string('output', 'privacy_plan.png', 'plan: where the figure is written.')

# Of a statement, what a calculation without a run can say.
_FIELDS = (
    'epsilon_user',
    'epsilon_user_rdp',
    'epsilon_present_absent',
    'epsilon_present_absent_rdp',
    'epsilon_virtual_client',
    'delta',
    'rho',
    'accountant',
    'accountant_version',
    'sensitivity_over_clip',
    'sensitivity_over_clip_present_absent',
    'noise_multiplier',
    'noise_multiplier_of_sum',
    'num_users',
    'virtual_clients_per_round',
    'users_per_virtual_client',
    'rounds_planned',
    'sampler',
    'sampling',
    'grouping',
    'sampling_probability',
    'participation',
    'mechanism',
    'mechanism_fields',
    'neighboring_relation',
    'neighboring_relation_text',
    'neighboring_relation_meaning',
    'present_absent_text',
    'present_absent_meaning',
    'private',
    'hypothetical',
    'deployment',
)


def main(arguments):
    if not arguments:
        raise app.UsageError(f'no command; expected one of {", ".join(COMMANDS)}')
    from dp_fedemb import validate

    validate.one_of('command', arguments[0], COMMANDS)
    COMMANDS[arguments[0]]()


def _epsilon():
    _refuse_given('epsilon', 'target_epsilon', 'calibrate')
    plan = plan_flags.uncalibrated_plan(_num_users(), _noise_multiplier('epsilon'))
    _show(plan, 'epsilon')


def _calibrate():
    from dp_fedemb import validate

    if FLAGS.target_epsilon is None:
        raise ValueError('calibrate without target_epsilon: set it')
    validate.one_of('solve_for', FLAGS.solve_for, _UNKNOWN)
    plan = _UNKNOWN[FLAGS.solve_for]()
    _show(plan, 'calibrate', solved=FLAGS.solve_for)


def _for_noise_multiplier():
    return plan_flags.plan(_num_users())


def _for_rounds():
    from dp_fedemb import privacy

    if FLAGS['rounds'].present:
        raise ValueError(f'rounds={FLAGS.rounds} with solve_for=rounds: leave it out')
    z = _noise_multiplier('solve_for=rounds')
    # The search begins with one round, whatever the schedule allows.
    plan = plan_flags.uncalibrated_plan(_num_users(), z, rounds=1)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'rounds')


def _for_num_users():
    from dp_fedemb import privacy

    if FLAGS.num_users is not None:
        raise ValueError(f'num_users={FLAGS.num_users} with solve_for=num_users: leave it out')
    z = _noise_multiplier('solve_for=num_users')
    plan = plan_flags.uncalibrated_plan(plan_flags.fewest_users(z), z)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'num_users')


_UNKNOWN = {
    'noise_multiplier': _for_noise_multiplier,
    'rounds': _for_rounds,
    'num_users': _for_num_users,
}


def _plan():
    from dp_fedemb.privacy.reporting import extrapolation
    from dp_fedemb.privacy.reporting import extrapolation_figure

    plan = plan_flags.uncalibrated_plan(_num_users(), _noise_multiplier('plan'))
    if not plan.private:
        raise ValueError(
            f'plan with mechanism={plan.mechanism.name}: it has no epsilon; choose gaussian'
        )
    m, n = plan.virtual_clients_per_round, plan.num_users
    cohorts = _whole_numbers('cohorts', [m * 2**i for i in range(6)])
    populations = _whole_numbers('populations', [round(n * 10 ** (i / 3)) for i in range(10)])
    points = extrapolation.points(plan, populations, cohorts)
    if not points:
        raise ValueError(
            f'populations={populations} are all smaller than a round of'
            f' cohorts={cohorts}; name larger populations'
        )
    needed = None
    if FLAGS.target_epsilon is not None:
        needed = extrapolation.users_needed(plan, cohorts, FLAGS.target_epsilon)

    extrapolation_figure.draw(points, plan, FLAGS.target_epsilon, FLAGS.output)
    if FLAGS.json:
        print(
            json.dumps(
                {
                    'command': 'plan',
                    'points': [dataclasses.asdict(point) for point in points],
                    'target_epsilon': FLAGS.target_epsilon,
                    'users_needed': needed
                    and [
                        {'virtual_clients_per_round': cohort, 'num_users': users}
                        for cohort, users in needed.items()
                    ],
                    'output': FLAGS.output,
                }
            )
        )
        return
    print(extrapolation_figure.table(points))
    if needed is not None:
        print(f'\nfewest users (N) for epsilon = {FLAGS.target_epsilon:g}, by cohort (m)')
        for cohort, users in needed.items():
            found = 'not reached' if users is None else f'{users:,}'
            print(f'  {cohort:>8,} {found:>15}')
    print(f'\nfigure: {FLAGS.output}')


COMMANDS = {'epsilon': _epsilon, 'calibrate': _calibrate, 'plan': _plan}


def _show(plan, command, solved=None):
    from dp_fedemb import privacy

    statement = privacy.statement(plan)
    if FLAGS.json:
        shown = {name: statement[name] for name in _FIELDS}
        print(json.dumps({'command': command, 'solved_for': solved, **shown}))
        return
    rows = [
        ('users (N)', f'{plan.num_users}'),
        ('virtual clients a round (m)', f'{plan.virtual_clients_per_round}'),
        ('users a virtual client (k)', f'{plan.users_per_virtual_client}'),
        ('rounds', f'{plan.rounds}'),
        ('sampler', _sampler(plan)),
        ('mechanism', plan.mechanism.name),
        ('noise multiplier (z)', f'{plan.mechanism.noise_multiplier:.6g}'),
        ('noise multiplier of the sum', f'{plan.mechanism.sum_noise_multiplier:.6g}'),
        ('sensitivity', f'{plan.sensitivity_over_clip:g} C'),
        ('neighbouring data sets', plan.relation.text),
        ('present or absent', plan.sampling.relation('present_absent').meaning),
    ]
    lines = [f'  {name:<28} {value}' for name, value in rows]
    if solved is not None:
        lines.insert(0, f'solved for {solved}, epsilon = {FLAGS.target_epsilon:g}')
    if plan.private:
        lines += ['', *_table_of_epsilons(plan)]
    headline = '\n'.join(privacy.statement_headline(statement))
    # Nothing was released here.
    headline = headline.replace('The released model is', 'The model of such a run is')
    print('\n'.join([*lines, '', headline]))


def _sampler(plan):
    grouping = getattr(plan.sampling, 'grouping', None)
    of = '' if grouping is None else f' of {grouping}'
    return f'{plan.sampling.name}{of}, q = {plan.sampling_probability:.4g}'


def _table_of_epsilons(plan):
    from dp_fedemb.privacy import rounding

    rho = plan.zcdp_rho()
    lines = ['of the simulated deployment:'] if plan.hypothetical else []
    row = '  {:<28} {:<15} {:>10} {:>10} {:>10}'
    lines.append(row.format('privacy unit', 'noise against', 'PLD', 'RDP', 'rho'))
    names = {'user': f'user, {plan.relation.name}', 'present_absent': 'user, present or absent'}
    names['virtual_client'] = 'virtual client (literature)'
    if plan.relation.name == 'present_absent':
        del names['present_absent']
    for unit, name in names.items():
        change = plan.sampling.record_change(plan.population, unit)
        against = f'{change.update:g} C'
        figures = [rounding.text(plan.epsilon(unit=unit, accountant=a)) for a in ('pld', 'rdp')]
        figures.append(f'{rho:.5g}' if rho is not None and unit == 'user' else '-')
        lines.append(row.format(name, against, *figures))
    return [*lines, f'  at delta = {rounding.text(plan.guarantee_delta)}']


def _num_users():
    if FLAGS.num_users is None:
        raise ValueError('num_users is not given: set it to the size of the population')
    return FLAGS.num_users


def _noise_multiplier(command):
    if FLAGS.noise_multiplier is None and FLAGS.mechanism not in ('none', 'clip_only'):
        raise ValueError(f'{command} without noise_multiplier: set it')
    return FLAGS.noise_multiplier


def _refuse_given(command, name, other):
    if FLAGS[name].value is not None:
        raise ValueError(f'{name}={FLAGS[name].value} with {command}: use {other}')


def _whole_numbers(name, default):
    if FLAGS[name].value is None:
        return default
    try:
        numbers = [int(text) for text in FLAGS[name].value]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ValueError(f'{name}={FLAGS[name].value}: expected whole numbers above 0')
    return sorted(set(numbers))


if __name__ == '__main__':
    program.run(main, positional=1)
