#!/usr/bin/env python3
"""Searches settings of bin/train.py, and accounts for having looked.

    bin/sweep.py --mode=public --vary=client_lr=0.1,0.3,1 --output_dir=runs/sweep \\
        -- --flagfile=tasks/configs/demo.flags --rounds=20
    bin/sweep.py --mode=selection --vary=client_lr=0.1,0.3,1 --mean_trials=10 \\
        --total_epsilon=8 --output_dir=runs/best -- --flagfile=private.flags

What follows `--` are flags of bin/train.py that all trials share. Three modes:

  public     the users are public or drawn: every trial may be looked at, at no cost
  composed   every trial is a release, and the epsilon of all of them together is stated
  selection  the number of trials is random and stays secret; the best one is released, and
             nothing of the others (Papernot and Steinke 2022)

The same command again goes on where it was. Scores are those of the task's validation part
unless --part says otherwise.
"""

import functools
import os
import sys

from absl import flags
import numpy as np

from flags import many_runs
from flags import program
from flags import ROOT

from dp_fedemb import configured_directory
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb import tables
from dp_fedemb.privacy import ledger
from dp_fedemb.privacy.reporting import tuned
from dp_fedemb.runs import signals
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import results
from dp_fedemb.tuning import running
from dp_fedemb.tuning import search
from dp_fedemb.tuning import selection as selection_lib

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
    upper_bound=10**6,
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
flags.DEFINE_string('metric', 'recall@FAR=0.001', 'What is best has most of it.')
flags.DEFINE_enum(
    'part', 'validation', ['validation', 'test'], 'Identities that scores are of.'
)
flags.DEFINE_integer('jobs', os.cpu_count(), 'Trials side by side.', 1, 1024)

_OWN = ('output_dir', 'evaluation_part', 'trial_of_selection', 'tuning', 'resume')
# The task whose users are drawn.
_DRAWN = 'synthetic'
_ENGINE = ('--engine=in_process', '--client_parallelism=1')


def main(base):
    _check_base(base)
    space = _space()
    combinations = _combinations(space)
    cells = [_cell(number, each, base) for number, each in enumerate(combinations, start=1)]
    cells_lib.check_different(cells)
    directory = configured_directory.ConfiguredDirectory(FLAGS.output_dir, 'sweep')
    config = _config(space, base)
    directory.check(config)
    answer = many_runs.ask(_request(cells))
    cells = _allowed(cells, answer)
    with directory.locked(), signals.end_cleanly():
        directory.begin(config)
        if FLAGS.mode == 'selection':
            _select(directory, cells, answer)
        else:
            _search(directory, cells, answer, list(space))


def _check_base(base):
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
        if name == 'noise_multiplier' and FLAGS.total_epsilon is not None:
            raise ValueError(f'{word} with total_epsilon: the total decides the noise')
        if name == 'seed' and FLAGS.mode == 'selection':
            raise ValueError(f'{word} after "--": the trials of a selection have secret seeds')
    if FLAGS.total_epsilon is not None and FLAGS.mode == 'public':
        raise ValueError(
            f'total_epsilon={FLAGS.total_epsilon} with mode=public: nothing is accounted'
            ' there; choose composed or selection'
        )


def _space():
    if bool(FLAGS.vary) == (FLAGS.grid is not None):
        raise ValueError('nothing to search, or twice: give either --vary or --grid')
    space = search.read(FLAGS.grid) if FLAGS.grid else search.parse(FLAGS.vary)
    taken = [*_OWN, 'seed', 'engine']
    if FLAGS.mode != 'public':
        taken += ['target_epsilon', *(['noise_multiplier'] if FLAGS.total_epsilon else [])]
    for name in space:
        if name in taken:
            raise ValueError(f'vary {name}: the sweep decides it; leave it out of the search')
    if not space:
        raise ValueError(f'grid={FLAGS.grid!r}: names no setting; expected at least one')
    return space


def _combinations(space):
    if FLAGS.random_trials is None:
        return search.grid(space)
    generator = np.random.default_rng(FLAGS.search_seed)
    return [search.draw(space, generator) for _ in range(FLAGS.random_trials)]


def _cell(number, settings, base):
    words = [f'{name}={value}' for name, value in settings.items()]
    name = cells_lib.name_of([f'trial_{number:03}', *words])[:120]
    part = [f'--evaluation_part={FLAGS.part}']
    return cells_lib.Cell(name, 'train', settings, settings, base=(*base, *part))


def _config(space, base):
    plain = {
        name: vars(values) if isinstance(values, search.Range) else list(values)
        for name, values in space.items()
    }
    names = ('mode', 'random_trials', 'search_seed', 'total_epsilon', 'metric', 'part')
    config = {'space': plain, 'base': base, **{name: FLAGS[name].value for name in names}}
    if FLAGS.mode == 'selection':
        config |= {name: FLAGS[name].value for name in ('mean_trials', 'distribution')}
    return config


def _request(cells):
    request = {
        'program': 'train',
        'runs': [cell.arguments() for cell in cells],
        'names': [cell.name for cell in cells],
    }
    if FLAGS.mode != 'public':
        names = ('mode', 'mean_trials', 'distribution', 'total_epsilon')
        if FLAGS.mode == 'selection':
            # So that a bad number is refused under its own name.
            privacy.Selection(FLAGS.mean_trials, FLAGS.distribution)
        request['trials'] = {name: FLAGS[name].value for name in names}
    return request


def _allowed(cells, answer):
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
    for cell, z in zip(cells, answer['noise_multipliers']):
        noise = {} if FLAGS.total_epsilon is None else {'noise_multiplier': z}
        found.append(
            cells_lib.Cell(
                cell.name, 'train', {**cell.flags, **noise}, cell.shown, base=cell.base
            )
        )
    return found


def _programs(*added):
    return running.Programs(ROOT / 'bin', {'train': (*_ENGINE, *added)}, {'CODE': ROOT})


def _search(directory, cells, answer, settings):
    """Runs all trials, which may be looked at, and writes table, figure and the best."""
    print(_sentence(answer, len(cells)), flush=True)
    trials = directory.path / 'trials'
    records = directory.path / 'records'

    def state(cell, run):
        if FLAGS.mode == 'composed':
            from dp_fedemb.runs import directory as run_directory_lib

            place = run_directory_lib.RunDirectory(run)
            known = place.read_json('privacy.json')
            if not known.get('tuning_mode'):
                place.write_statement(_statement(known, answer, len(cells)))

    failures = running.run(
        cells, _programs(), trials, records, FLAGS.jobs, 'sweep', ended=state
    )
    found = running.read_records(cells, records)
    rows = [{'trial': name, **results.row(record)} for name, record in found.items()]
    _check_metric(rows)
    rows.sort(key=lambda row: -row[FLAGS.metric])
    if rows:
        from dp_fedemb.tuning import figures  # Matplotlib takes a second.

        directory.write_text('table.csv', results.to_csv(rows))
        directory.write_text('table.md', results.to_markdown(rows))
        picture = figures.parallel_coordinates(rows, settings, FLAGS.metric)
        picture.savefig(directory.path / 'trials.png')
        best = next(cell for cell in cells if cell.name == rows[0]['trial'])
        directory.write_text('best.flags', _best_flags(best, len(rows)))
        shown = [['trial', FLAGS.metric]]
        shown += [[row['trial'], f'{row[FLAGS.metric]:.4f}'] for row in rows[:10]]
        print(tables.text(shown, 'lr'))
        print(f'outputs: {directory.path}: table.md, table.csv, trials.png, best.flags')
    _end_failed(
        {name: f'{why} (trials/{name}/{running.LOG})' for name, why in failures.items()}
    )


def _best_flags(best, count):
    lines = ['# The best of a sweep.']
    lines += best.arguments()[len(best.base) :]
    if FLAGS.mode == 'public':
        names = ', '.join(best.shown)
        lines.append(f'--tuning={tuned.MODES["public"]}: {names} of {count} trials')
    return '\n'.join(lines) + '\n'


def _sentence(answer, count):
    if FLAGS.mode == 'public':
        return f'{count} trials on public users: looking at them costs nothing.'
    total = privacy.rounded_up_text(answer['epsilon_user'])
    one = privacy.rounded_up_text(max(answer['single_epsilons']))
    what = f'all {count} trials, each of them a release'
    if FLAGS.mode == 'selection':
        what = f'the best of a secret number of trials ({_details()}, {count} candidates)'
    delta = privacy.rounded_up_text(answer['delta'])
    return f'epsilon = {total} at delta = {delta} by {what}; {one} by one of them.'


def _details(count=None):
    if FLAGS.mode == 'composed':
        return f'{count} trials'
    return f'{FLAGS.distribution}, mean {FLAGS.mean_trials:g}'


def _statement(of_trial, answer, count):
    return tuned.statement(
        of_trial,
        FLAGS.mode,
        epsilons={name: answer[name] for name in ('epsilon_user', 'epsilon_present_absent')},
        delta=answer['delta'],
        trials=FLAGS.mean_trials if FLAGS.mode == 'selection' else count,
        details=_details(count),
    )


def _select(directory, cells, answer):
    """Runs a secret number of trials and releases the best one."""
    released = directory.path / selection_lib.RELEASED
    if released.exists():
        selection_lib.forget(directory.path)
        print(f'This selection is finished: {released}.')
        return
    print(_sentence(answer, len(cells)), flush=True)
    secret = selection_lib.secret_directory(directory.path)
    seed = selection_lib.secret_seed(secret)
    chosen = privacy.Selection(FLAGS.mean_trials, FLAGS.distribution)
    trials = [
        cells_lib.Cell(f'trial_{number}', 'train', cells[index].flags, base=cells[index].base)
        for number, index in enumerate(selection_lib.choices(seed, chosen, len(cells)))
    ]
    failures = running.run(
        trials,
        _programs('--trial_of_selection'),
        secret / 'trials',
        secret / 'records',
        FLAGS.jobs,
        'private selection',
        secret=True,
    )
    if failures:
        _end_failed({'a trial': f'{next(iter(failures.values()))}; nothing is released'})
    records = running.read_records(trials, secret / 'records')
    rows = {name: results.row(record) for name, record in records.items()}
    _check_metric(rows.values())
    best = selection_lib.best({name: row[FLAGS.metric] for name, row in rows.items()})
    if best is None:
        released.mkdir()
        print('No trial was drawn: nothing is released, and the epsilon is spent.')
        selection_lib.forget(directory.path)
        return
    statement = selection_lib.release(
        directory.path,
        secret / 'trials' / best / 'run',
        functools.partial(_noted, answer=answer, seed=seed, path=released),
    )
    selection_lib.forget(directory.path)
    print('\n'.join(privacy.statement_headline(statement)))
    settings = ', '.join(f'{k}={v}' for k, v in records[best]['flags'].items())
    print(f'the best: {settings}; {FLAGS.metric} = {rows[best][FLAGS.metric]:.4f}')
    print(f'outputs: {released}')


def _noted(of_trial, *, answer, seed, path):
    """Returns the statement of the selection, once the ledger of the store has it."""
    statement = _statement(of_trial, answer, None)
    plan = next(
        plan
        for plan, z in zip(answer['plans'], answer['noise_multipliers'])
        if z == of_trial['noise_multiplier'] and plan['rounds'] == of_trial['rounds_planned']
    )
    private = statement['private_by_itself']
    ledger.append(
        answer['store'],
        ledger.Entry(
            run=randomness.key(seed, 'name in the ledger').hex()[:32],
            directory=str(path),
            rounds=statement['rounds_completed'],
            epsilon=statement['epsilon_user'] if private else None,
            delta=statement['delta'] if private else None,
            planned_epsilon=statement['epsilon_user'] if private else None,
            plan=plan,
        ),
    )
    return statement


def _check_metric(rows):
    for row in rows:
        if FLAGS.metric not in row:
            known = [name for name in row if name.startswith('recall')]
            raise ValueError(f'metric={FLAGS.metric!r}: expected one of {", ".join(known)}')


def _end_failed(failures):
    for name, why in failures.items():
        print(f'{name} failed: {why}', file=sys.stderr)
    if failures:
        sys.exit(1)


if __name__ == '__main__':
    program.run(main, positional=sys.maxsize)
