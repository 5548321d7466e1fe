"""bin/privacy.py tuned: whether the epsilon of a search follows from what its files say."""

from collections.abc import Mapping
import json
import pathlib
import shlex
import sys
from typing import Any

from absl import flags
from absl.testing import flagsaver

from flags import from_settings
from flags import plan_flags
from privacy_commands import arguments

from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.privacy import rounding
from dp_fedemb.privacy import selection
from dp_fedemb.privacy.reporting import tuned

FLAGS = flags.FLAGS

_WAY_OUT = 'restore it from what the search released'
_COMMAND = ['bin/privacy.py', 'epsilon']
_UNITS = ('epsilon_user', 'epsilon_present_absent')


def show(directory: str) -> None:
    """Accounts a search again from its statement; exits with 1 if that says anything else."""
    path = pathlib.Path(directory)
    path = path / 'privacy.json' if path.is_dir() else path
    found = _account(path, _read(path))
    problems, answer = found
    if FLAGS.json:
        print(json.dumps({'command': 'tuned', **answer, 'problems': problems}))
    else:
        print(
            f'{answer["settings"]} settings, trials: {answer["number"]:g}'
            f' ({answer["distribution"] or "all released"})\n'
            f'epsilon, user               {rounding.text(answer["epsilon_user"])}\n'
            f'epsilon, present or absent  {rounding.text(answer["epsilon_present_absent"])}\n'
            f'delta                       {rounding.text(answer["delta"])}'
        )
        print('\n'.join(f'PROBLEM: {each}' for each in problems) or f'as {path} says')
    if problems:
        sys.exit(1)


def _read(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; expected what a search released')
    found = json_files.read(path, _WAY_OUT)
    if not isinstance(found.get('trials'), dict):
        raise ValueError(
            f'{path}: not the statement of a composed search or a private selection; that of'
            ' a single run names its own command'
        )
    return found


def _account(
    path: pathlib.Path, statement: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """What does not fit, and what the files come to."""
    with json_files.whole(path, _WAY_OUT):
        trials = statement['trials']
        number, distribution = float(trials['number']), trials['distribution']
        commands: dict[str, int] = dict(trials['commands'])
        for count in commands.values():
            validate.whole('[1, 1e6]', count=count)
        stated = {name: float(statement[name]) for name in (*_UNITS, 'delta')}
        distance, released = float(statement['statistical_distance']), trials['released']
        validate.within('[0, 1)', statistical_distance=distance)
        plans = [
            plan for each, count in commands.items() for plan in [_plan(each)] * int(count)
        ]
        if not plans:
            raise ValueError('no trials')
        if distribution is not None:
            privacy.Selection(number, distribution)
    problems = []
    if released not in commands:
        problems.append('what was released is none of the settings that were accounted for')
    cost: Any = selection.composed_epsilon
    if statement.get('tuning_mode') == 'selection':
        cost = privacy.Selection(number, distribution).epsilon
    elif number != len(plans):
        problems.append(f'{number:g} trials, but settings of {len(plans)}')
    answer: dict[str, Any] = {
        f'epsilon_{unit}': rounding.rounded_up(selection.total_epsilon(plans, cost, unit))
        for unit in ('user', 'present_absent')
    }
    delta = selection.released_delta(
        plans[0].guarantee_delta, answer['epsilon_user'], number, distance
    )
    answer['delta'] = 1.0 if delta is None else delta
    for name, value in answer.items():
        # Less than it costs is wrong; a little more can be another machine's last digit.
        if not value * (1 - 1e-9) <= stated[name] <= value * (1 + 1e-3):
            problems.append(f'{name} is stated as {stated[name]}, and comes to {value}')
    mode = statement.get('tuning_mode')
    if mode not in tuned.MODES or not str(statement.get('tuning')).startswith(
        tuned.MODES[mode]
    ):
        problems.append(f'mode {mode!r} is not what the statement says in words')
    answer |= {'number': number, 'distribution': distribution, 'settings': len(plans)}
    return problems, answer


def _plan(command: str) -> privacy.PrivacyPlan:
    words = shlex.split(command)
    if words[:2] != _COMMAND:
        raise ValueError(f'{command!r}: expected {" ".join(_COMMAND)} and its flags')
    known = {name for name, _ in from_settings.own_flags()}
    for word in words[2:]:
        name = word.removeprefix('--').partition('=')[0]
        # Not those of absl: a file of flags would be read.
        if not word.startswith('--') or name not in known:
            raise ValueError(f'{command!r}: {word!r} is no flag of a plan')
    with flagsaver.flagsaver():
        try:
            FLAGS(['privacy.py', *words[2:]])
        except flags.Error as error:
            raise ValueError(f'{command!r}: {error}') from None
        return plan_flags.uncalibrated_plan(arguments.num_users(), FLAGS.noise_multiplier)
