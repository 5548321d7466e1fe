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

import dataclasses
import functools
import math
import pathlib
import sys

from absl import flags

from flags import many_runs
from flags import program
from flags import ROOT
from flags import sweep_flags

from dp_fedemb import configured_directory
from dp_fedemb import files
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb import tables
from dp_fedemb.privacy import ledger
from dp_fedemb.privacy.reporting import tuned
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import results
from dp_fedemb.tuning import running
from dp_fedemb.tuning import selection as selection_lib

FLAGS = flags.FLAGS

_ENGINE = ('--engine=in_process', '--client_parallelism=1')


def main(base):
    sweep_flags.check_base(base)
    space = sweep_flags.read_space(base)
    cells = [
        sweep_flags.cell(number, settings, base)
        for number, settings in enumerate(sweep_flags.combinations(space), start=1)
    ]
    try:
        cells_lib.check_different(cells)
    except ValueError as error:
        if FLAGS.random_trials is None:
            raise
        raise ValueError(
            f'random_trials={FLAGS.random_trials}: {error}; draw fewer, or from more values'
        ) from None
    directory = configured_directory.ConfiguredDirectory(FLAGS.output_dir, 'sweep', 0o600)
    config = sweep_flags.config(space, base)
    directory.check(config)
    answer = many_runs.ask(sweep_flags.request(cells))
    cells = sweep_flags.allowed(cells, answer)
    with directory.locked():
        directory.begin(config)
        if FLAGS.mode == 'selection':
            _select(directory, cells, answer)
        else:
            _search(directory, cells, answer, list(space))


def _programs(answer, *added):
    return running.Programs(
        ROOT / 'bin',
        lambda _: (*_ENGINE, *added),
        {'CODE': ROOT},
        needed=[pathlib.Path(answer['store'])],
    )


def _search(directory, cells, answer, settings):
    """Runs all trials, which may be looked at, and writes table, figure and the best."""
    print(_sentence(answer, len(cells)), flush=True)
    trials = directory.path / 'trials'
    records = directory.path / 'records'
    # With the arguments of the trials, which name places of this machine.
    files.make_private_directory(records)

    def state(cell, run):
        if FLAGS.mode == 'composed':
            from dp_fedemb.runs import directory as run_directory_lib

            place = run_directory_lib.RunDirectory(run)
            known = place.read_json('privacy.json')
            if not known.get('tuning_mode'):
                place.write_statement(_statement(known, answer, len(cells)))

    failures = running.run(
        cells, _programs(answer), trials, records, FLAGS.jobs, 'sweep', ended=state
    )
    found = running.read_records(cells, records)
    rows = [{'trial': name, **results.row(record)} for name, record in found.items()]
    # What has no score, for instance by a model that diverged, is last.
    rows.sort(key=lambda row: -(row[FLAGS.metric] if _scored(row) else -math.inf))
    if rows:
        # Matplotlib takes a second.
        from dp_fedemb.evaluation.figures import drawing
        from dp_fedemb.tuning import figures

        directory.write_text('table.csv', results.to_csv(rows))
        directory.write_text('table.md', results.to_markdown(rows))
        picture = figures.parallel_coordinates(rows, settings, FLAGS.metric)
        drawing.save({'trials': picture}, directory.path)
        best = next(cell for cell in cells if cell.name == rows[0]['trial'])
        directory.write_text('best.flags', _best_flags(best, len(rows)))
        shown = [['trial', FLAGS.metric]]
        shown += [[row['trial'], _score(row)] for row in rows[:10]]
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
        distribution=FLAGS.distribution if FLAGS.mode == 'selection' else None,
        commands=answer['commands'],
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
    _enter(answer, seed, released)
    running.run(
        trials,
        _programs(answer, '--trial_of_selection'),
        secret / 'trials',
        secret / 'records',
        FLAGS.jobs,
        'private selection',
        secret=True,
    )
    records = running.read_records(trials, secret / 'records')
    ended = {name: each for name, each in records.items() if running.FAILED not in each}
    if len(ended) < len(records):
        print(
            'At least one trial failed. It has no score and is not tried again: that would be a'
            ' trial that nobody accounted for.',
            file=sys.stderr,
        )
    records = ended
    rows = {name: results.row(record) for name, record in records.items()}
    best = selection_lib.best({name: row[FLAGS.metric] for name, row in rows.items()})
    if best is None:
        files.make_directory(released)
        print('No trial was drawn, or none ended: nothing is released; the epsilon is spent.')
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
    print(f'the best: {settings}; {FLAGS.metric} = {_score(rows[best])}')
    print(f'outputs: {released}')


def _enter(answer, seed, released):
    """Writes the selection into the store's ledger, all of its epsilon, before any trial.

    So that one that is given up, and begun anew elsewhere, is not for free.
    """
    run = _name(seed)
    if run not in ledger.read(answer['store']).latest():
        ledger.append(answer['store'], _entry(answer, run, released, answer['plans'][0]))


def _noted(of_trial, *, answer, seed, path):
    """Returns the statement of the selection, once the ledger of the store has it."""
    statement = _statement(of_trial, answer, None)
    plan = next(
        plan
        for plan, z in zip(answer['plans'], answer['noise_multipliers'])
        if z == of_trial['noise_multiplier'] and plan['rounds'] == of_trial['rounds_planned']
    )
    entry = _entry(answer, _name(seed), path, plan)
    figures = (statement['epsilon_user'], statement['delta'])
    if not statement['private_by_itself']:
        figures = (None, None)
    entry = dataclasses.replace(
        entry, epsilon=figures[0], delta=figures[1], planned_epsilon=figures[0]
    )
    ledger.append(answer['store'], entry)
    return statement


def _name(seed):
    return randomness.key(seed, 'name in the ledger').hex()[:32]


def _entry(answer, run, path, plan):
    return ledger.Entry(
        run=run,
        directory=str(path),
        rounds=plan['rounds'],
        epsilon=answer['epsilon_user'],
        delta=answer['delta'],
        planned_epsilon=answer['epsilon_user'],
        plan=plan,
    )


def _score(row):
    return f'{row[FLAGS.metric]:.4f}' if _scored(row) else 'none'


def _scored(row):
    return row[FLAGS.metric] is not None and math.isfinite(row[FLAGS.metric])


def _end_failed(failures):
    for name, why in failures.items():
        print(f'{name} failed: {why}', file=sys.stderr)
    if failures:
        sys.exit(1)


if __name__ == '__main__':
    program.run(main, positional=sys.maxsize)
