"""Flags of bin/sweep.py: what is searched, in which mode, and what it refuses."""

import os
from typing import Any

from absl import flags
import numpy as np

from flags import from_settings

from dp_fedemb import privacy
from dp_fedemb.privacy.reporting import tuned
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import search

FLAGS = flags.FLAGS

flags.DEFINE_enum('mode', None, list(tuned.MODES), 'See above.', required=True)
flags.DEFINE_string('output_dir', None, 'Directory of the sweep.', required=True)
flags.DEFINE_multi_string(
    'vary', [], 'A flag of bin/train.py and values to try: NAME=VALUE,VALUE,...'
)
flags.DEFINE_string(
    'grid',
    None,
    'TOML file in place of --vary: a list for each flag, or {low, high, log, whole} to draw'
    ' from.',
)
flags.DEFINE_integer(
    'random_trials',
    None,
    'Draw so many combinations instead of taking them all; for a selection, the candidates.',
    lower_bound=1,
    upper_bound=search.MOST,
)
flags.DEFINE_integer('search_seed', 0, 'Of that draw; public.', 0, 2**63 - 1)
flags.DEFINE_float(
    'total_epsilon',
    None,
    'composed, selection: epsilon of a user by all trials together; plans the noise of each.'
    ' By default the noise is what the flags of the trials say.',
    lower_bound=1e-12,
    upper_bound=1e6,
)
flags.DEFINE_float('mean_trials', 10.0, 'selection: mean of the number of trials.', 1e-12, 1e6)
flags.DEFINE_enum(
    'distribution',
    'geometric',
    list(privacy.selection.DISTRIBUTIONS),
    'selection: of the number of trials.',
)
flags.DEFINE_bool(
    'users_are_public',
    False,
    'public: your word that the training users are public, where the task does not draw them.',
)
# Those of an evaluation at the end of a run; not imported, since that takes TensorFlow.
METRICS = ('recall@FAR=0.001', 'recall@FAR=0.01')
flags.DEFINE_enum('metric', METRICS[0], list(METRICS), 'What is best has most of it.')
flags.DEFINE_enum(
    'part', 'validation', ['validation', 'test'], 'Identities that scores are of.'
)
flags.DEFINE_integer('jobs', os.cpu_count(), 'Trials side by side.', 1, 1024)

_OWN = ('output_dir', 'evaluation_part', 'trial_of_selection', 'tuning')
# The task whose users are drawn.
_DRAWN = 'synthetic'


def check_base(base: list[str]) -> None:
    """Refuses flags of the trials that the sweep decides."""
    for word in base:
        name = word.lstrip('-').partition('=')[0]
        if not word.startswith('--'):
            raise ValueError(
                f'argument {word!r}: expected a flag of bin/train.py, --NAME=VALUE'
            )
        if name in _OWN:
            raise ValueError(f'{word} after "--": the sweep sets {name} itself; leave it out')
        if name == 'target_epsilon' and FLAGS.mode != 'public':
            raise ValueError(
                f'{word} after "--": of one trial; set --total_epsilon, of all, before it'
            )
        if name == 'budget_epsilon' and FLAGS.mode == 'selection':
            raise ValueError(
                f'{word} after "--": it would be held against one trial and not against the'
                ' selection; bin/privacy.py ledger says what is left, --total_epsilon spends it'
            )
        if name == 'noise_multiplier' and FLAGS.total_epsilon is not None:
            raise ValueError(f'{word} with total_epsilon: the total decides the noise')
    if FLAGS.mode != 'selection':
        from_settings.refuse_unused(f'mode={FLAGS.mode}', 'mean_trials', 'distribution')
    if FLAGS.mode != 'public':
        from_settings.refuse_unused(f'mode={FLAGS.mode}', 'users_are_public')
    if FLAGS.random_trials is None:
        from_settings.refuse_unused('a grid without random_trials', 'search_seed')
    if FLAGS.total_epsilon is not None and FLAGS.mode == 'public':
        raise ValueError(
            f'total_epsilon={FLAGS.total_epsilon} with mode=public: nothing is accounted'
            ' there; choose composed or selection'
        )


def read_space(base: list[str]) -> search.Space:
    """Returns what is searched, by flag; none of it may be among the flags of all trials."""
    if bool(FLAGS.vary) == (FLAGS.grid is not None):
        raise ValueError('nothing to search, or twice: give either --vary or --grid')
    space = search.read(FLAGS.grid) if FLAGS.grid else search.parse(FLAGS.vary)
    taken = [*_OWN, 'seed', 'engine']
    if FLAGS.mode != 'public':
        taken += ['target_epsilon', *(['noise_multiplier'] if FLAGS.total_epsilon else [])]
    for name in space:
        if name in taken:
            raise ValueError(f'vary {name}: the sweep decides it; leave it out of the search')
    for word in base:
        name = word.lstrip('-').partition('=')[0]
        if name in space or name.removeprefix('no') in space:
            raise ValueError(f'{word} after "--": the sweep varies it; leave it out')
    if not space:
        raise ValueError(f'grid={FLAGS.grid!r}: names no setting; expected at least one')
    return space


def combinations(space: search.Space) -> list[search.Settings]:
    """Returns the settings of the trials, or those that a selection draws from."""
    if FLAGS.random_trials is None:
        return search.grid(space)
    generator = np.random.default_rng(FLAGS.search_seed)
    return [search.draw(space, generator) for _ in range(FLAGS.random_trials)]


def cell(number: int, settings: search.Settings, base: list[str]) -> cells_lib.Cell:
    """Returns a trial."""
    words = [f'{name}={value}' for name, value in settings.items()]
    name = cells_lib.name_of([f'trial_{number:03}', *words])[:120]
    part = [f'--evaluation_part={FLAGS.part}']
    return cells_lib.Cell(name, 'train', settings, settings, base=(*base, *part))


def config(space: search.Space, base: list[str]) -> dict[str, Any]:
    """Returns what decides what a sweep computes."""
    plain = {
        name: vars(values) if isinstance(values, search.Range) else list(values)
        for name, values in space.items()
    }
    names = ('mode', 'random_trials', 'search_seed', 'total_epsilon', 'metric', 'part')
    found = {'space': plain, 'base': base, **{name: FLAGS[name].value for name in names}}
    if FLAGS.mode == 'selection':
        found |= {name: FLAGS[name].value for name in ('mean_trials', 'distribution')}
    return found


def request(cells: list[cells_lib.Cell]) -> dict[str, Any]:
    """Returns what `many_runs` is asked about the trials."""
    found: dict[str, Any] = {
        'program': 'train',
        'runs': [each.arguments() for each in cells],
        'names': [each.name for each in cells],
        'outputs': {'output_dir': FLAGS.output_dir},
    }
    if FLAGS.mode != 'public':
        names = ('mode', 'mean_trials', 'distribution', 'total_epsilon')
        if FLAGS.mode == 'selection':
            # So that a bad number is refused under its own name.
            privacy.Selection(FLAGS.mean_trials, FLAGS.distribution)
        found['trials'] = {name: FLAGS[name].value for name in names}
    return found


def allowed(cells: list[cells_lib.Cell], answer: dict[str, Any]) -> list[cells_lib.Cell]:
    """Returns the trials with their noise; refuses what the mode does not account for."""
    if FLAGS.mode == 'public':
        found = {facts['task'] for facts in answer['runs']} - {_DRAWN}
        if found and not FLAGS.users_are_public:
            raise ValueError(
                f'mode=public with task={found.pop()}: its users are somebody; say'
                ' --users_are_public if they are public, or choose composed or selection'
            )
        return cells
    if not np.isfinite(answer['epsilon_user']):
        raise ValueError(
            f'mode={FLAGS.mode} with trials that have no epsilon: give them noise, by'
            ' --total_epsilon or after "--"'
        )
    found = []
    for trial, z in zip(cells, answer['noise_multipliers']):
        noise = {} if FLAGS.total_epsilon is None else {'noise_multiplier': z}
        found.append(
            cells_lib.Cell(
                trial.name, 'train', {**trial.flags, **noise}, trial.shown, base=trial.base
            )
        )
    return found
