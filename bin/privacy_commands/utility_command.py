"""bin/privacy.py utility: how many users until privacy costs little of the recall."""

import dataclasses
import json
import math

from absl import flags

from flags import server_flags
from privacy_commands import arguments

from dp_fedemb import privacy
from dp_fedemb import tables
from dp_fedemb.privacy.reporting import extrapolation
from dp_fedemb.privacy.reporting import utility
from dp_fedemb.privacy.reporting import utility_runs
from dp_fedemb.privacy.reporting import utility_users

FLAGS = flags.FLAGS

flags.DEFINE_list(
    'runs', None, 'utility: directories of finished runs, or directories that hold them.'
)
flags.DEFINE_string(
    'curve',
    None,
    'utility: CSV of runs with columns ratio (z / m of independent noise) and recall, in place'
    ' of --runs.',
)
flags.DEFINE_string('metric', 'recall@FAR=0.001', 'utility: of the runs, by evaluation.json.')
flags.DEFINE_float(
    'drop', 0.05, 'utility: fraction of the recall without noise given up.', 1e-9, 1 - 1e-9
)
flags.DEFINE_float(
    'recall_floor', 0.0, 'utility: recall of a model that saw nothing but noise.', 0.0, 1.0
)

_COHORTS = [2**power for power in (5, 7, 9, 11, 13, 15)]
_FIGURE_COHORTS = [2**power for power in range(5, 16)]
_FIGURE_POPULATIONS = [10**power for power in range(4, 9)]


def show() -> None:
    """Fits the runs, says how many users the target takes, and draws both."""
    target = arguments.target_epsilon('utility')
    arguments.refuse_given('utility', 'noise_multiplier', 'runs of several noises')
    arguments.refuse_given('utility', 'mechanism', 'no mechanism: all are answered for')
    runs = _runs()
    fit = utility.fit(
        [point.ratio for point in runs.points],
        [point.recall for point in runs.points],
        FLAGS.recall_floor,
    )
    ratio, low, high = fit.ratio_at(FLAGS.drop)
    if not (low > 0 and math.isfinite(high)):
        raise ValueError(
            f'drop={FLAGS.drop}: its ratio is somewhere from {low:.3g} to {high:.3g}, which the'
            ' runs do not bound; add runs with more noise, or a smaller drop'
        )
    cohorts = arguments.whole_numbers('cohorts', _COHORTS)
    answers = {cohort: _answers(runs, (ratio, low, high), target, cohort) for cohort in cohorts}
    drawn = _draw(fit, runs, ratio, target)
    if FLAGS.json:
        print(json.dumps(_record(fit, runs, answers, drawn)))
    else:
        print(_text(fit, runs, answers, target))
        print(f'\nfigure: {drawn}')


def _runs():
    if (FLAGS.runs is None) == (FLAGS.curve is None):
        raise ValueError('utility: expected either runs or curve; give one of the two')
    if FLAGS.runs is not None:
        for name in ('rounds', 'users_per_virtual_client', *server_flags.WORKLOAD):
            if FLAGS[name].present:
                raise ValueError(f'{name}={FLAGS[name].value} with runs: they say it')
        return utility_runs.read(FLAGS.runs, FLAGS.metric)
    return utility_runs.Runs(
        tuple(utility_runs.read_table(FLAGS.curve)),
        FLAGS.users_per_virtual_client,
        FLAGS.rounds,
        server_flags.server(),
    )


def _answers(runs, ratios, target, cohort):
    """Fewest users by kind: at the fitted ratio, and at the ends of its interval."""
    found = {}
    for kind, fewest in utility_users.KINDS.items():
        found[kind] = [
            fewest(
                utility_users.Question(
                    runs.users_per_virtual_client,
                    runs.rounds,
                    FLAGS.delta,
                    runs.server,
                    ratio,
                    target,
                ),
                cohort,
            )
            for ratio in ratios
        ]
    return found


def _draw(fit, runs, ratio, target):
    # Drawing takes a second to load.
    from dp_fedemb.privacy.reporting import utility_figure

    plan = privacy.PrivacyPlan(
        10**8, 1, runs.users_per_virtual_client, runs.rounds, privacy.Gaussian(1.0, ratio)
    )
    populations = arguments.whole_numbers('populations', _FIGURE_POPULATIONS)
    points = extrapolation.points(plan, populations, _FIGURE_COHORTS)
    path = FLAGS.output if FLAGS['output'].present else 'privacy_utility.png'
    utility_figure.draw(fit, FLAGS.drop, points, target, path)
    return path


def _record(fit, runs, answers, drawn):
    ratio, low, high = fit.ratio_at(FLAGS.drop)
    return {
        'command': 'utility',
        'runs': [point._asdict() for point in runs.points],
        'curve': dataclasses.asdict(fit.curve),
        'scatter': fit.scatter,
        'recall_without_noise': fit.recall(0.0),
        'drop': FLAGS.drop,
        'ratio': [ratio, low, high],
        'extrapolated': not fit.was_run(high),
        'target_epsilon': FLAGS.target_epsilon,
        'users': [
            {
                'virtual_clients_per_round': cohort,
                **{
                    kind: {
                        'num_users': [answer.num_users for answer in found],
                        'name': found[0].name,
                    }
                    for kind, found in kinds.items()
                },
            }
            for cohort, kinds in answers.items()
        ],
        'output': drawn,
    }


def _text(fit, runs, answers, target):
    curve = fit.curve
    above = f'{curve.floor:g} + ' if curve.floor else ''
    top, ratio = fit.recall(0.0), fit.ratio_at(FLAGS.drop)
    lines = [
        f'{len(runs.points)} runs: recall = {above}{curve.top - curve.floor:.4g} / (1 +'
        f' (ratio / {curve.half:.4g})^{curve.slope:.3g}), scatter {fit.scatter:.2g}',
        f'recall without noise {top[0]:.4g} ({top[1]:.4g} to {top[2]:.4g}, 95 %)',
        f'{FLAGS.drop:.2g} of it lost at a noise-to-signal ratio z / m of {ratio[0]:.3g}'
        f' ({ratio[1]:.3g} to {ratio[2]:.3g})',
    ]
    if not fit.was_run(ratio[2]):
        lines.append('  beyond the noisiest run: the figures below rest on the curve alone')
    lines.append(f'\nfewest users (N) for epsilon = {target:g}, by cohort (m)')
    rows = [('cohort', *answers[next(iter(answers))])]
    rows += [
        (f'{cohort:,}', *(_range(found) for found in kinds.values()))
        for cohort, kinds in answers.items()
    ]
    lines.append(tables.text(rows, 'r', indent=2))
    names = {
        f'{cohort:,}': kinds['correlated'][0].name
        for cohort, kinds in answers.items()
        if kinds['correlated'][0].name
    }
    if names:
        told = '; '.join(f'{cohort}: {name}' for cohort, name in names.items())
        lines.append(f'  correlated by {told}')
    return '\n'.join(lines)


def _range(found):
    """The number and its interval: more noise needs fewer users."""
    middle, most, fewest = (
        '-' if each.num_users is None else f'{each.num_users:,}' for each in found
    )
    return middle if middle == most == fewest else f'{middle} ({fewest} to {most})'
