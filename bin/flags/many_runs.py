#!/usr/bin/env python3
"""Checks the flags of many runs of one program at once, before any of them runs.

Not for people: `bin/reproduce.py` and `bin/sweep.py` ask it in a process of its own, since
two programs may define one flag. Reads {"program", "runs": [[argument, ...], ...], "trials":
...} as JSON and answers with {"error"} or {"runs": [facts, ...], ...}.
"""

import collections
import json
import pathlib
import runpy
import signal
import subprocess
import sys
from typing import Any

# Runs by its path, before the package is there.
if __name__ == '__main__':
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import flags as flags_package
from flags import host
from flags import paths

from dp_fedemb import host_error
from dp_fedemb import last_words

PROGRAMS = ('train', 'pretrain', 'privacy')


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Asks in another process.

    Args:
        request: `program`; `runs`, each a list of arguments; `without_data` to look for
            none; `outputs`, paths that get figures, by the names of flags; and for accounted
            trials `trials` with `mode` (composed or selection), `mean_trials`,
            `distribution` and `total_epsilon` (None: the noise that the flags say).

    Returns:
        `runs`, facts of each; for trials also `epsilon_user` and
        `epsilon_present_absent` of all together, and `store`.

    Raises:
        ValueError: in one line, naming the run by its number, for what the program would
            refuse.
        HostError: where the machine fails.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        raise host_error.HostError(last_words.meaning(-done.returncode))
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise ValueError(
            f'{request["program"]}: its flags could not be checked; see above'
        ) from None
    if 'trouble' in answer:
        raise host_error.HostError(answer['trouble'])
    if 'error' in answer:
        raise ValueError(answer['error'])
    return answer


def _main() -> None:
    # Ctrl-C reaches who asks, too, and that ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.read())
    # What a task says while it converts its data is for people.
    answers, sys.stdout = sys.stdout, sys.stderr
    try:
        answer = _answer(request)
    except Exception as error:
        trouble = host.trouble(error)
        text = trouble or paths.trouble(error) or str(error)
        if trouble is None and not isinstance(error, (ValueError, OSError)):
            raise
        answer = {'error' if trouble is None else 'trouble': ' '.join(text.split())}
    print(json.dumps(answer), file=answers, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from absl import flags
    from absl.testing import flagsaver

    from flags import command_line
    from flags import from_settings

    from dp_fedemb import validate

    program = request['program']
    sys.argv = [f'{program}.py']
    path = str(flags_package.ROOT / 'bin' / f'{program}.py')
    commands = runpy.run_path(path, run_name=program).get('COMMANDS', ())
    trials = request.get('trials')
    planned = trials is not None and trials['total_epsilon'] is not None
    begin = flagsaver.save_flag_values()
    tasks: dict[str, Any] = {}
    facts, plans, store = [], [], None
    for number, arguments in enumerate(request['runs'], start=1):
        # Copies: a flag takes what it is restored from as its own, and changes it.
        flagsaver.restore_flag_values({name: dict(flag) for name, flag in begin.items()})
        given = [*sys.argv, *arguments]
        if 'output_dir' in flags.FLAGS:
            given.append('--output_dir=unused')
        try:
            words = command_line.CommandLine(given[1:]).words
            rest = flags.FLAGS([*sys.argv, *words])[1:]
            if commands:
                validate.one_of('command', *rest[:1] or [''], commands)
            elif rest:
                raise ValueError(f'unexpected argument {rest[0]!r}; flags start with --')
            from_settings.check()
            found, plan, task = _facts(request, tasks, planned)
        except flags.Error as error:
            raise ValueError(f'{_named(request, number)}: {error}') from None
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f'{_named(request, number)}: {error}') from None
        facts.append(found)
        plans.append(plan)
        store = None if task is None else str(task.train.path)
    answer: dict[str, Any] = {'runs': facts, 'store': store}
    if trials is not None:
        answer |= _accounted(plans, trials)
    return answer


def _named(request: dict[str, Any], number: int) -> str:
    names = request.get('names')
    return f'run {number}' if names is None else f'cell {names[number - 1]!r}'


def _facts(
    request: dict[str, Any], tasks: dict[str, Any], planned: bool
) -> tuple[dict[str, Any], Any, Any]:
    """What is known of a run before it runs; its plan and task, where it has them."""
    from absl import flags

    from flags import groups
    from flags import plan_flags

    program = request['program']
    if program == 'privacy':
        return {}, None, None
    values = flags.FLAGS
    described = [values.task, values.task_option, values.data_dir, values.data_seed]
    key = repr([*described, values.max_examples_per_user, values.cache_dir])
    if request.get('without_data'):
        return _without_data(program), None, None
    groups.check_task()
    groups.check_apart(**request.get('outputs', {}))
    groups.check_model()
    if key not in tasks:
        tasks[key] = groups.task()
    task = tasks[key]
    facts: dict[str, Any] = {
        'task': values.task,
        'num_users': task.train.num_users,
        'num_examples': task.train.num_examples,
        'shape': list(task.train.example_spec.shape),
        'backbone': values.backbone or task.default_backbone,
        'embedding_dim': values.embedding_dim or task.default_embedding_dim,
    }
    for name in ('part', 'evaluation_part'):
        if name in values and values[name].value not in task.stores:
            raise ValueError(
                f'{name}={values[name].value}: task {task.name} has no such part here; it has'
                f' {", ".join(task.stores)}'
            )
    if program == 'pretrain':
        return facts, None, task
    settings = groups.training(values.rounds)
    if request.get('trials') is not None and values.seed is not None:
        raise ValueError(
            'seed is given: trials with one seed share their noise, so that what they cost does'
            ' not add up; leave it out'
        )
    if request.get('trials') is not None and values.trial_of_selection:
        raise ValueError(
            'trial_of_selection is given: it would keep the trial out of the ledger; the sweep'
            ' sets it where that is right, leave it out'
        )
    if planned and values.target_epsilon is not None:
        raise ValueError(
            f'target_epsilon={values.target_epsilon}: of one trial, while the total of all of'
            ' them is given; leave it out'
        )
    if planned:
        # What the noise is will follow from the total.
        plan = plan_flags.uncalibrated_plan(task.train.num_users, 1.0)
    else:
        plan = plan_flags.plan(task.train.num_users)
    facts |= {
        'rounds': plan.rounds,
        'virtual_clients_per_round': plan.virtual_clients_per_round,
        'users_per_virtual_client': plan.users_per_virtual_client,
        'local_epochs': settings.client.local_epochs,
        'batch_size': settings.client.batch_size,
        'private': plan.private and not plan.hypothetical,
        'noise_multiplier': plan.mechanism.noise_multiplier,
        'plan': plan.to_json(),
    }
    return facts, plan, task


def _without_data(program: str) -> dict[str, Any]:
    """What flags alone say of a run, to estimate it by."""
    from absl import flags

    from flags import groups

    values = flags.FLAGS
    found = {
        'backbone': values.backbone or 'lenet',
        'embedding_dim': values.embedding_dim or 128,
        'head': values.head,
        'max_examples_per_user': values.max_examples_per_user,
        'task_option': values.task_option,
    }
    if program == 'train':
        settings = groups.training(values.rounds)
        found |= {
            'rounds': values.rounds,
            'virtual_clients_per_round': values.virtual_clients_per_round,
            'users_per_virtual_client': values.users_per_virtual_client,
            'local_epochs': settings.client.local_epochs,
            'batch_size': settings.client.batch_size,
        }
    return found


def _accounted(plans: list[Any], trials: dict[str, Any]) -> dict[str, Any]:
    """Plans the noise of trials where there is a total, and accounts them."""
    from dp_fedemb.privacy import rounding
    from dp_fedemb.privacy import selection
    from dp_fedemb.privacy.reporting import recomputation

    cost: Any = selection.composed_epsilon
    if trials['mode'] == 'selection':
        chosen = selection.Selection(trials['mean_trials'], trials['distribution'])
        cost = chosen.epsilon
    if trials['total_epsilon'] is not None:
        plans = selection.plan_trials(plans, trials['total_epsilon'], cost)
    epsilons = {
        f'epsilon_{unit}': rounding.rounded_up(selection.total_epsilon(plans, cost, unit))
        for unit in ('user', 'present_absent')
    }
    return {
        'noise_multipliers': [plan.mechanism.noise_multiplier for plan in plans],
        'single_epsilons': [rounding.rounded_up(plan.epsilon()) for plan in plans],
        'plans': [plan.to_json() for plan in plans],
        'commands': collections.Counter(
            recomputation.command(plan, plan.rounds) for plan in plans
        ),
        'delta': plans[0].guarantee_delta,
        **epsilons,
    }


if __name__ == '__main__':
    _main()
