"""bin/privacy.py extrapolate: the same model from more users, at a lower epsilon."""

import dataclasses
import json

from absl import flags

from flags import plan_flags
from privacy_commands import arguments

from dp_fedemb import tables

FLAGS = flags.FLAGS


def extrapolate() -> None:
    """Draws and prints epsilon at a constant noise-to-signal ratio."""
    from dp_fedemb.privacy.reporting import extrapolation
    from dp_fedemb.privacy.reporting import extrapolation_figure

    plan = plan_flags.uncalibrated_plan(
        arguments.num_users(), arguments.noise_multiplier('extrapolate')
    )
    if not plan.private:
        raise ValueError(
            f'extrapolate with mechanism={plan.mechanism.name}: it has no epsilon; choose'
            ' gaussian'
        )
    m, n = plan.virtual_clients_per_round, plan.num_users
    cohorts = arguments.whole_numbers('cohorts', [m * 2**i for i in range(6)])
    populations = arguments.whole_numbers(
        'populations', [round(n * 10 ** (i / 3)) for i in range(10)]
    )
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
                    'command': 'extrapolate',
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
