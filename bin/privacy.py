#!/usr/bin/env python3
"""Answers what a setting costs, and what a target takes; needs no TensorFlow.

    bin/privacy.py epsilon --num_users=3400 --noise_multiplier=0.62 --rounds=200
    bin/privacy.py calibrate --num_users=100000 --target_epsilon=8 --rounds=200
    bin/privacy.py plan --num_users=3400 --noise_multiplier=0.62 --rounds=200
    bin/privacy.py choose --num_users=40000 --target_epsilon=8 --rounds=100
    bin/privacy.py ledger data_cache/emnist/train

`epsilon` accounts a setting. `calibrate` finds the noise multiplier, the rounds or the
users (--solve_for) for a target epsilon. `plan` draws epsilon against population and
cohort with the noise on the mean kept as it is: how many users does it take? `choose` finds
the mechanism and sampler that leave the least noise in the model at a target epsilon, for a
server's momentum (--strategy_momentum). `ledger` lists every release that was made from the
users of a store, and their sum.
"""

import dataclasses
import json
import math
import os

from absl import app
from absl import flags

from flags import plan_flags
from flags import program

from dp_fedemb import privacy
from dp_fedemb import tables
from dp_fedemb import validate
from dp_fedemb.privacy import ledger
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy.reporting import signal_to_noise

FLAGS = flags.FLAGS

flags.DEFINE_integer('num_users', None, 'N: users in the population.')
# Epsilon does not depend on the clip norm, so that it need not be given here.
plan_flags.define(clip_norm_default=1.0)
# So that --help shows them.
flags.DEFINE_string(
    'solve_for', 'noise_multiplier', 'calibrate: noise_multiplier, rounds or num_users.'
)
flags.DEFINE_integer(
    'noised_weights',
    None,
    'epsilon, calibrate: weights of the backbone that are trained; adds how loud the noise'
    ' on them is.',
)
flags.DEFINE_float(
    'signal_to_noise',
    1.0,
    'with noised_weights: wanted ratio of the largest mean update to the noise on it; adds'
    ' the cohort that has it.',
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
# What follows from --noised_weights.
_NOISE_FIELDS = ('largest_signal_to_noise', 'required_cohort')


def main(arguments):
    if not arguments:
        raise app.UsageError(f'no command; expected one of {", ".join(COMMANDS)}')
    command, *rest = arguments
    validate.one_of('command', command, COMMANDS)
    if command == 'ledger':
        if not rest:
            raise ValueError('ledger without a store: name its directory')
        _ledger(rest[0])
        return
    if rest:
        raise ValueError(f'unexpected argument {rest[0]!r}; flags start with --')
    COMMANDS[command]()


def _epsilon():
    _refuse_given('epsilon', 'target_epsilon', 'calibrate')
    plan = plan_flags.uncalibrated_plan(_num_users(), _noise_multiplier('epsilon'))
    _show(plan, 'epsilon')


def _calibrate():
    if FLAGS.target_epsilon is None:
        raise ValueError('calibrate without target_epsilon: set it')
    validate.one_of('solve_for', FLAGS.solve_for, _UNKNOWN)
    plan = _UNKNOWN[FLAGS.solve_for]()
    _show(plan, 'calibrate', solved=FLAGS.solve_for)


def _for_noise_multiplier():
    return plan_flags.plan(_num_users())


def _for_rounds():
    if FLAGS['rounds'].present:
        raise ValueError(f'rounds={FLAGS.rounds} with solve_for=rounds: leave it out')
    z = _noise_multiplier('solve_for=rounds')
    # The search begins with one round, whatever the schedule allows.
    plan = plan_flags.uncalibrated_plan(_num_users(), z, rounds=1)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'rounds')


def _for_num_users():
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
        rows = [
            (f'{cohort:,}', 'not reached' if users is None else f'{users:,}')
            for cohort, users in needed.items()
        ]
        print(tables.text(rows, 'r', indent=2))
    print(f'\nfigure: {FLAGS.output}')


def _choose():
    from dp_fedemb.privacy import choice

    if FLAGS.target_epsilon is None:
        raise ValueError('choose without target_epsilon: set it')
    for name in ('mechanism', 'sampling', 'noise_multiplier'):
        _refuse_given('choose', name, 'calibrate')
    momentum = FLAGS.strategy_momentum or 0.0
    FLAGS.strategy_momentum = None  # An option of candidates, not of the plan they are of.
    plan = plan_flags.uncalibrated_plan(_num_users(), 1.0)
    found = choice.candidates(plan, FLAGS.target_epsilon, momentum)
    if FLAGS.json:
        rows = [
            {
                'name': each.name,
                'model_noise': each.model_noise if each.plan else None,
                'noise_multiplier': each.plan and each.plan.mechanism.noise_multiplier,
                'epsilon_user': each.plan and each.plan.epsilon(),
                'reason': each.reason,
            }
            for each in found
        ]
        print(json.dumps({'command': 'choose', 'candidates': rows}))
        return
    rows = [('mechanism, sampler', 'z', 'noise in the model', '')]
    for each in found:
        if each.plan is None:
            rows.append((each.name, '-', '-', each.reason))
        else:
            z = each.plan.mechanism.noise_multiplier
            rows.append((each.name, f'{z:.4g}', f'{each.model_noise:.4g}', ''))
    print(tables.text(rows, 'lrrl', indent=2))
    print('  (root mean square over the rounds, over server rate x C)')
    print(f'\n{choice.sentence(found)}')


def _ledger(store: str) -> None:
    if not os.path.isdir(store):
        raise FileNotFoundError(f'{store}: no such directory; expected that of a store')
    found = ledger.read(store)
    epsilon, delta = found.spent()
    if FLAGS.json:
        answer = {
            'command': 'ledger',
            'entries': [dataclasses.asdict(entry) for entry in found.entries],
            'runs': list(found.latest()),
            'epsilon_user': epsilon if math.isfinite(epsilon) else None,
            'delta': delta if math.isfinite(epsilon) else None,
            'private': math.isfinite(epsilon),
            'problems': list(found.problems),
        }
        print(json.dumps(answer))
        return
    counted = {id(entry) for entry in found.latest().values()}
    rows = [('', 'rounds', 'epsilon', 'delta', 'run')]
    for entry in found.entries:
        private = entry.epsilon is not None
        figures = [
            rounding.text(x) if private else 'none' for x in (entry.epsilon, entry.delta)
        ]
        mark = '' if id(entry) in counted else '-'
        rows.append((mark, entry.rounds, *figures, entry.directory))
    print(tables.text(rows, 'lrrrl'))
    if len(counted) < len(found.entries):
        print('(- went on, or was begun anew: counted in another entry)')
    for problem in found.problems:
        print(f'PROBLEM: {problem}')
    if not found.entries:
        print(f'no releases in {store}')
    elif math.isinf(epsilon):
        print('sum: NOT PRIVATE, a release without a guarantee was made from these users')
    else:
        print(
            f'sum of {len(counted)} runs: ({rounding.text(epsilon)}, {rounding.text(delta)})'
            '-differentially private at the level of users'
        )


COMMANDS = {
    'epsilon': _epsilon,
    'calibrate': _calibrate,
    'plan': _plan,
    'choose': _choose,
    'ledger': _ledger,
}


def _show(plan, command, solved=None):
    statement = privacy.statement(plan)
    if FLAGS.json:
        shown = {name: statement[name] for name in _FIELDS}
        if FLAGS.noised_weights is not None:
            shown.update(zip(_NOISE_FIELDS, _noise(plan)))
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
    if FLAGS.noised_weights is not None:
        ratio, cohort = _noise(plan)
        rows += [
            ('largest signal to noise', f'{ratio:.4g}' if ratio else 'no noise'),
            (f'cohort for {FLAGS.signal_to_noise:g} of it', f'{cohort or "any"}'),
        ]
    lines = [tables.text(rows, indent=2)]
    if solved is not None:
        lines.insert(0, f'solved for {solved}, epsilon = {FLAGS.target_epsilon:g}')
    if plan.private:
        lines += ['', *_table_of_epsilons(plan)]
    headline = '\n'.join(privacy.statement_headline(statement))
    # Nothing was released here.
    headline = headline.replace('The released model is', 'The model of such a run is')
    print('\n'.join([*lines, '', headline]))


def _noise(plan: privacy.PrivacyPlan) -> tuple[float | None, int | None]:
    """Largest signal-to-noise ratio, and the cohort for the wanted one; None without noise."""
    if not plan.private:
        return None, None
    d = FLAGS.noised_weights
    return (
        signal_to_noise.largest(plan, d),
        signal_to_noise.required_cohort(plan, d, FLAGS.signal_to_noise),
    )


def _sampler(plan: privacy.PrivacyPlan) -> str:
    grouping = getattr(plan.sampling, 'grouping', None)
    of = '' if grouping is None else f' of {grouping}'
    return f'{plan.sampling.name}{of}, q = {plan.sampling_probability:.4g}'


def _table_of_epsilons(plan):
    rho = plan.zcdp_rho()
    lines = ['of the simulated deployment:'] if plan.hypothetical else []
    rows = [('privacy unit', 'noise against', 'PLD', 'RDP', 'rho')]
    names = {'user': f'user, {plan.relation.name}', 'present_absent': 'user, present or absent'}
    names['virtual_client'] = 'virtual client (literature)'
    if plan.relation.name == 'present_absent':
        del names['present_absent']
    for unit, name in names.items():
        change = plan.sampling.record_change(plan.population, unit)
        against = f'{change.update:g} C'
        figures = [rounding.text(plan.epsilon(unit=unit, accountant=a)) for a in ('pld', 'rdp')]
        figures.append(f'{rho:.5g}' if rho is not None and unit == 'user' else '-')
        rows.append((name, against, *figures))
    return [
        *lines,
        tables.text(rows, 'llr', indent=2),
        f'  at delta = {rounding.text(plan.guarantee_delta)}',
    ]


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
    program.run(main, positional=2)
