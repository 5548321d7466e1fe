#!/usr/bin/env python3
"""Answers what a setting costs, and what a target takes; needs no TensorFlow.

    bin/privacy.py epsilon --num_users=3400 --noise_multiplier=0.62 --rounds=200
    bin/privacy.py calibrate --num_users=100000 --target_epsilon=8 --rounds=200
    bin/privacy.py plan --num_users=40000 --target_epsilon=8 --rounds=100
    bin/privacy.py extrapolate --num_users=3400 --noise_multiplier=0.62 --rounds=200
    bin/privacy.py utility --runs=RUNS --target_epsilon=4
    bin/privacy.py ledger data_cache/emnist/train
    bin/privacy.py tuned runs/best/released

`epsilon` accounts a setting. `calibrate` finds the noise multiplier, the rounds, the users or
the cohort (--solve_for) for a target epsilon. `plan` finds the mechanism and sampler that
leave the least noise in the model at a target epsilon, for a server's momentum and rates
(--strategy_momentum, --strategy_lr_schedule) or for the average of models
(--strategy_averaging); --mechanism and --sampling leave fewer to choose from. `extrapolate`
draws epsilon against population and cohort with the noise on the mean kept as it is: how many
users does it take? `utility` answers that from finished runs at several noises: which noise
costs a twentieth (--drop) of the recall, and how many users make it private. `ledger` lists
every release that was made from the users of a store, and their sum. `tuned` accounts a
search of bin/sweep.py again, from the statement of what it released.
"""

import os

from absl import app
from absl import flags

from flags import from_settings
from flags import plan_flags
from flags import program
from privacy_commands import accounting
from privacy_commands import extrapolating
from privacy_commands import ledgers
from privacy_commands import planning
from privacy_commands import tuned_command
from privacy_commands import utility_command

from dp_fedemb import pathnames
from dp_fedemb import validate

FLAGS = flags.FLAGS

flags.DEFINE_integer('num_users', None, 'N: users in the population.')
# Epsilon does not depend on the clip norm, so that it need not be given here.
plan_flags.define(clip_norm_default=1.0)
# So that --help shows them.
flags.DEFINE_string(
    'solve_for',
    'noise_multiplier',
    'calibrate: noise_multiplier, rounds, num_users or virtual_clients_per_round.',
)
flags.DEFINE_integer(
    'noised_weights',
    None,
    'epsilon, calibrate: weights of the backbone that are trained; adds how loud the noise'
    ' on them is.',
    lower_bound=1,
    upper_bound=10**15,
)
flags.DEFINE_float(
    'signal_to_noise',
    1.0,
    'with noised_weights: wanted ratio of the largest mean update to the noise on it; adds'
    ' the cohort that has it.',
    lower_bound=1e-9,
    upper_bound=1e9,
)
flags.DEFINE_bool('json', False, 'Print one JSON object instead of a table.')
flags.DEFINE_list(
    'populations',
    None,
    'extrapolate: numbers of users; from num_users to a thousandfold by default.',
)
flags.DEFINE_list(
    'cohorts',
    None,
    'extrapolate: virtual clients a round; from the given one to its 32-fold by default.',
)
flags.DEFINE_string('output', 'privacy_plan.png', 'extrapolate: where the figure is written.')

COMMANDS = {
    'epsilon': accounting.epsilon,
    'calibrate': accounting.calibrate,
    'plan': planning.plan,
    'extrapolate': extrapolating.extrapolate,
    'utility': utility_command.show,
    'ledger': ledgers.show,
    'tuned': tuned_command.show,
}

# Commands with a directory, and of what.
_OF_DIRECTORY = {'ledger': 'a store', 'tuned': 'what a search released'}


# Flag -> the commands that read it; the others are read by nearly all.
_ONLY = {
    **dict.fromkeys(('populations', 'cohorts', 'output'), ('extrapolate', 'utility')),
    'solve_for': ('calibrate',),
    'noised_weights': ('epsilon', 'calibrate'),
    'signal_to_noise': ('epsilon', 'calibrate'),
    **dict.fromkeys(('runs', 'curve', 'metric', 'drop', 'recall_floor'), ('utility',)),
}


def main(arguments):
    if not arguments:
        raise app.UsageError(f'no command; expected one of {", ".join(COMMANDS)}')
    command, *rest = arguments
    validate.one_of('command', command, COMMANDS)
    others = [name for name, commands in _ONLY.items() if command not in commands]
    from_settings.refuse_unused(command, *others)
    from_settings.need('signal_to_noise', 'noised_weights')
    if command in _ONLY['output']:
        pathnames.check_place(output=os.path.dirname(FLAGS.output) or '.')
        pathnames.check_file(FLAGS.output, 'output')
    if command in _OF_DIRECTORY:
        if not rest:
            raise ValueError(f'{command} without {_OF_DIRECTORY[command]}: name its directory')
        # What they account is in the directory.
        from_settings.refuse_unused(command, 'num_users', *plan_flags.names())
        COMMANDS[command](rest[0])
        return
    if rest:
        raise ValueError(f'unexpected argument {rest[0]!r}; flags start with --')
    COMMANDS[command]()


if __name__ == '__main__':
    program.run(main, positional=2)
