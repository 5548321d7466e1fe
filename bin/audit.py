#!/usr/bin/env python3
"""Attacks our own releases, and holds what that shows against the claimed epsilon.

    bin/audit.py noise --num_users=3400 --noise_multiplier=0.62 --rounds=20
    bin/audit.py rounds --task=synthetic --noise_multiplier=1 --rounds=20
    bin/audit.py canaries --task=synthetic --noise_multiplier=1 --rounds=20
    bin/audit.py membership --task=omniglot --data_dir=DIR --epsilons=none,8

`noise` takes the mechanism of a plan alone, as a black box: distinguishing games on
neighbouring sums, and checks of noise, clip and cohorts; no data, no training. `rounds`
takes the flags of a run and watches its first rounds, from exact sums to the model on the
disk; what it sees is secret, and only verdicts are kept. `canaries` trains once on a task's
users and on canaries whose data fair coins decide. `membership` trains models on halves of
a task's users and asks of every user whether it was in training. With --model, of a
finished run, `noise` takes its plan and `membership` attacks its model. Each prints a
table, and with --output_dir writes audit.json and pictures. A lower bound of epsilon above
the claim, or a check that fails, ends with exit code 1 and a line for each.
"""

import json
import pathlib
import sys

from absl import flags

from audit_commands import canaries
from audit_commands import membership
from audit_commands import noise
from audit_commands import rounds
from flags import audit_flags
from flags import groups
from flags import model_flags
from flags import plan_flags
from flags import program
from flags import start_flags

from dp_fedemb import files
from dp_fedemb import pathnames
from dp_fedemb import validate

FLAGS = flags.FLAGS

groups.define_task()
groups.define_model()
groups.define_training()
plan_flags.define(clip_norm_default=1.0)
model_flags.define(required=False)
start_flags.define()
audit_flags.define()

COMMANDS = {
    'noise': noise.audit,
    'rounds': rounds.audit,
    'canaries': canaries.audit,
    'membership': membership.audit,
}


def main(arguments):
    if not arguments:
        raise ValueError(f'no command; expected one of {", ".join(COMMANDS)}')
    (command,) = arguments
    validate.one_of('command', command, COMMANDS)
    if FLAGS.output_dir is not None:
        pathnames.check_place(output_dir=FLAGS.output_dir)
        groups.check_apart(output_dir=FLAGS.output_dir)
    audit_flags.targets()
    groups.training(FLAGS.rounds)
    audit_flags.check_used(command)
    values, pictures, text = COMMANDS[command]()
    alarms = values['alarms']
    written = _write(command, values, pictures)
    if FLAGS.json:
        print(json.dumps({'command': command, **values}, default=str))
    else:
        from dp_fedemb.auditing import report

        print(text)
        print('\n' + '\n'.join(['ALARM: ' + alarm for alarm in alarms] or [report.NO_ALARM]))
        print(f'\n{report.meaning(values)}')
        if written:
            print(f'\nwritten to {FLAGS.output_dir}: {", ".join(written)}')
    sys.exit(1 if alarms else 0)


def _write(command, values, pictures):
    if FLAGS.output_dir is None:
        return []
    from dp_fedemb.auditing import report
    from dp_fedemb.evaluation.figures import drawing

    directory = pathlib.Path(FLAGS.output_dir)
    files.make_directory(directory)
    # First what audit.json names.
    drawing.save(pictures, directory)
    path = report.write(directory, command, {**values, 'pictures': sorted(pictures)})
    return [path.name, *(f'{name}.png' for name in pictures)]


if __name__ == '__main__':
    program.run(main, positional=1)
