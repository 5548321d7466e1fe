"""bin/privacy.py epsilon and calibrate: what a setting costs, and what a target takes."""

import json

from absl import flags

from flags import plan_flags
from privacy_commands import arguments

from dp_fedemb import privacy
from dp_fedemb import tables
from dp_fedemb import validate
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy.reporting import signal_to_noise

FLAGS = flags.FLAGS

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


def epsilon() -> None:
    """Accounts the setting of the flags."""
    arguments.refuse_given('epsilon', 'target_epsilon', 'calibrate')
    users, z = arguments.num_users(), arguments.noise_multiplier('epsilon')
    plan = plan_flags.uncalibrated_plan(users, z)
    _show(plan, 'epsilon')


def calibrate() -> None:
    """Finds the noise, the rounds, the users or the cohort for a target."""
    arguments.target_epsilon('calibrate')
    validate.one_of('solve_for', FLAGS.solve_for, _UNKNOWN)
    plan = _UNKNOWN[FLAGS.solve_for]()
    _show(plan, 'calibrate', solved=FLAGS.solve_for)


def _for_noise_multiplier():
    return plan_flags.plan(arguments.num_users())


def _for_rounds():
    if FLAGS['rounds'].present:
        raise ValueError(f'rounds={FLAGS.rounds} with solve_for=rounds: leave it out')
    z = arguments.noise_multiplier('solve_for=rounds')
    # The search begins with one round, whatever the schedule allows.
    plan = plan_flags.uncalibrated_plan(arguments.num_users(), z, rounds=1)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'rounds')


def _for_num_users():
    if FLAGS.num_users is not None:
        raise ValueError(f'num_users={FLAGS.num_users} with solve_for=num_users: leave it out')
    z = arguments.noise_multiplier('solve_for=num_users')
    plan = plan_flags.uncalibrated_plan(plan_flags.fewest_users(z), z)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'num_users')


def _for_virtual_clients():
    if FLAGS['virtual_clients_per_round'].present:
        raise ValueError(
            f'virtual_clients_per_round={FLAGS.virtual_clients_per_round} with'
            ' solve_for=virtual_clients_per_round: leave it out'
        )
    z = arguments.noise_multiplier('solve_for=virtual_clients_per_round')
    # The search begins with one, whatever the default is.
    FLAGS.virtual_clients_per_round = 1
    plan = plan_flags.uncalibrated_plan(arguments.num_users(), z)
    return privacy.calibrate(plan, FLAGS.target_epsilon, 'virtual_clients_per_round')


_UNKNOWN = {
    'noise_multiplier': _for_noise_multiplier,
    'rounds': _for_rounds,
    'num_users': _for_num_users,
    'virtual_clients_per_round': _for_virtual_clients,
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
