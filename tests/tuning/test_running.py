"""Cells side by side: resumed one by one, failures told and survived, records without paths."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from dp_fedemb import host_error
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import figures
from dp_fedemb.tuning import results
from dp_fedemb.tuning import running

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A program that leaves what a run leaves, and notes each of its starts.
PROGRAM = """
import json, pathlib, sys, time
values = dict(word[2:].split('=', 1) for word in sys.argv[1:])
run = pathlib.Path(values['output_dir'])
run.mkdir(parents=True, exist_ok=True)
with open(run / 'starts', 'a') as file:
    file.write('x')
time.sleep(float(values.get('sleep', 0)))
if values['score'] == 'bad':
    print('all is well')
    print('error: score=bad: expected a number', file=sys.stderr)
    sys.exit(2)
scores = {'trained': {'recall@FAR=0.001': float(values['score'])}}
(run / 'evaluation.json').write_text(json.dumps(scores))
config = {'where': str(run), 'data': values.get('data_dir')}
(run / 'config.json').write_text(json.dumps(config))
"""


@pytest.fixture
def programs(tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'train.py').write_text(PROGRAM)
    data = tmp_path / 'pictures'
    data.mkdir()
    added = [f'--data_dir={data}']
    return running.Programs(tmp_path / 'bin', lambda _: added, {'DATA': data}, needed=[data])


def cell(name, score, **flags):
    return cells_lib.Cell(name, 'train', {'score': score, **flags}, {'score': score})


def test_it_goes_on_and_survives_a_failure(programs, tmp_path, capfd):
    cells = [cell('one', 0.5), cell('two', 'bad'), cell('three', 0.25)]
    work, records = tmp_path / 'work', tmp_path / 'records'
    ended = []
    failures = running.run(
        cells, programs, work, records, 2, 'table', ended=lambda c, run: ended.append(c.name)
    )
    assert failures == {'two': 'error: score=bad: expected a number'}
    assert sorted(ended) == ['one', 'three']
    running.run(cells, programs, work, records, 1, 'table')
    starts = {
        name: len((work / name / 'run' / 'starts').read_text()) for name in ('one', 'two')
    }
    assert starts == {'one': 1, 'two': 2}
    assert '3/3' in capfd.readouterr().err
    found = running.read_records(cells, records)
    assert list(found) == ['one', 'three']
    record = found['one']
    assert str(tmp_path) not in json.dumps(record)
    assert (
        record['command_line']
        == 'bin/train.py --score=0.5 --data_dir=DATA --output_dir=WORK/one/run'
    )
    assert record['config'] == {'where': 'OUT', 'data': 'DATA'}
    assert record['wall_seconds'] > 0


def test_the_number_of_secret_cells_is_not_shown(programs, tmp_path, capfd):
    cells = [cell(str(number), number / 10) for number in range(7)]
    running.run(cells, programs, tmp_path / 'w', tmp_path / 'r', 2, 'selection', secret=True)
    shown = capfd.readouterr().err
    assert 'selection' in shown and '/7' not in shown


def test_a_secret_cell_that_failed_is_not_tried_again(programs, tmp_path):
    """One more try is one more trial; a cell that was stopped goes on."""
    cells = [cell('good', 0.5), cell('bad', 'bad')]
    work, records = tmp_path / 'work', tmp_path / 'records'
    for _ in range(2):
        assert running.run(cells, programs, work, records, 2, 'selection', secret=True) == {}
    assert (work / 'bad' / 'run' / 'starts').read_text() == 'x'
    found = running.read_records(cells, records)
    assert found['bad'] == {'name': 'bad', running.FAILED: True}
    assert running.FAILED not in found['good']


HOST_FAULTS = {
    'full disk': (
        "print('error: No space left on device: free some', file=sys.stderr); sys.exit(75)",
        ('No space left on device', 'the machine failed'),
    ),
    'lost data': (
        "import os; os.rename('DATA', 'AWAY'); sys.exit(2)",
        ('pictures: is not there any more',) * 2,
    ),
    'dead worker': (
        "print('error: the worker is gone; run again', file=sys.stderr); sys.exit(75)",
        ('the worker is gone', 'the machine failed'),
    ),
    'killed for want of memory': (
        'import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
        ('SIGKILL: by somebody, or by the system for want of memory',) * 2,
    ),
    'stopped': ('sys.exit(143)', ('stopped by SIGTERM',) * 2),
}


@pytest.mark.parametrize('secret', [False, True])
@pytest.mark.parametrize('fault', HOST_FAULTS)
def test_a_fault_of_the_host_ends_all_and_costs_no_trial(programs, tmp_path, fault, secret):
    """The failing cell is neither recorded nor given up, and one at its side is stopped."""
    program = tmp_path / 'bin' / 'train.py'
    broken, said = HOST_FAULTS[fault]
    data, away = tmp_path / 'pictures', tmp_path / 'away'
    broken = broken.replace('DATA', str(data)).replace('AWAY', str(away))
    program.write_text(f"import sys\nif 'sleep' not in ''.join(sys.argv): {broken}\n{PROGRAM}")
    cells = [cell('struck', 0.5), cell('beside', 0.25, sleep=300), cell('later', 0.75)]
    work, records = tmp_path / 'work', tmp_path / 'records'
    with pytest.raises(host_error.HostError) as caught:
        running.run(cells, programs, work, records, 2, 'sweep', secret=secret)
    assert said[secret] in str(caught.value) and 'the same command goes on' in str(caught.value)
    assert not secret or not {'struck', 'Errno', 'worker'} & set(str(caught.value).split())
    assert not list(records.iterdir()) and not (work / 'later').exists()
    here = str(tmp_path)
    assert not any(here in line and 'sleep=300' in line for line in _command_lines())
    if away.exists():
        away.rename(data)
    program.write_text(PROGRAM)
    cells[1] = cell('beside', 0.25)
    assert running.run(cells, programs, work, records, 2, 'sweep', secret=secret) == {}
    assert not any(
        running.FAILED in each for each in running.read_records(cells, records).values()
    )


def test_words_of_the_system_do_not_make_a_fault_of_the_host(programs, tmp_path):
    line = 'error: score: No such file or directory, No space left on device'
    program = f'import sys; print({line!r}, file=sys.stderr); sys.exit(2)'
    (tmp_path / 'bin' / 'train.py').write_text(program)
    places = tmp_path / 'work', tmp_path / 'records'
    assert running.run([cell('one', 0.5)], programs, *places, 1, 'table') == {'one': line}


def test_a_bug_in_secret_trials_is_not_a_score(programs, tmp_path):
    (tmp_path / 'bin' / 'train.py').write_text('1 / 0')
    arguments = programs, tmp_path / 'work', tmp_path / 'records', 1, 'sweep'
    with pytest.raises(host_error.HostError, match='a program failed'):
        running.run([cell('bug', 0.5)], *arguments, secret=True)
    failures = running.run([cell('bug', 0.5)], *arguments)
    assert failures == {'bug': 'ZeroDivisionError: division by zero'}


def test_a_full_disk_is_noticed_where_the_log_cannot_tell(programs, tmp_path, monkeypatch):
    def full(**options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(running.tempfile, 'TemporaryFile', full)
    arguments = programs, tmp_path / 'work', tmp_path / 'records', 1, 'sweep'
    with pytest.raises(OSError, match='No space left'):
        running.run([cell('bad', 'bad')], *arguments, secret=True)
    assert not list((tmp_path / 'records').iterdir())


def test_nothing_is_left_running(programs, tmp_path):
    script = f"""
        import pathlib
        from dp_fedemb.tuning import cells, running
        programs = running.Programs(pathlib.Path({str(tmp_path / 'bin')!r}), lambda _: (), {{}})
        slow = cells.Cell('slow', 'train', {{'score': 1, 'sleep': 300}})
        here = pathlib.Path({str(tmp_path)!r})
        running.run([slow], programs, here / 'work', here / 'records', 1, 'table')
    """
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(script)],
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ['PYTHONPATH']]),
        },
        stderr=subprocess.DEVNULL,
    )
    starts = tmp_path / 'work' / 'slow' / 'run' / 'starts'
    while not starts.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while any(str(starts.parent) in line for line in _command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _command_lines():
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            yield path.read_bytes().replace(b'\0', b' ').decode(errors='replace')
        except OSError:
            continue


def test_cells_that_repeat():
    with pytest.raises(ValueError, match="'one' and 'two' are the same run"):
        cells_lib.check_different([cell('one', 0.5, rounds=3), cell('two', 0.5, rounds=3)])
    with pytest.raises(ValueError, match="'one' is there twice"):
        cells_lib.check_different([cell('one', 0.5), cell('one', 0.6)])
    cells_lib.check_different([cell('one', 0.5), cell('two', 0.6)])


ROWS = [
    {'method': 'a', 'z': 0.1, 'seed': 1, 'recall@FAR=0.001': 0.5, 'seconds': 3.0},
    {'method': 'a', 'z': 0.1, 'seed': 2, 'recall@FAR=0.001': 0.7, 'seconds': 4.0},
    {'method': 'b', 'seed': 1, 'recall@FAR=0.001': 0.8, 'seconds': 1.0},
]


def test_rows_over_seeds():
    merged = results.over_seeds(ROWS, ['recall@FAR=0.001'])
    assert [row['seeds'] for row in merged] == [2, 1]
    assert merged[0]['recall@FAR=0.001'] == pytest.approx(0.6)
    # The sample's, with one degree of freedom less.
    assert merged[0]['recall@FAR=0.001 sd'] == pytest.approx(0.1414, abs=1e-4)
    assert '| a | 0.1 | 0.6000 ± 0.1414 | 2 | 7 |' in results.to_markdown(merged)
    # A recall that too few pairs resolve is told, and one of a row that has none is not.
    few = [{'method': 'a', 'recall@FAR=0.001': None, 'seconds': 1.0}]
    few = results.over_seeds([*few, {'method': 'plan', 'seconds': 1.0}], ['recall@FAR=0.001'])
    assert results.to_markdown(few).count('too few pairs') == 1
    assert results.to_csv(merged).splitlines()[0].startswith('method,z,recall@FAR=0.001')


def test_epsilon_is_of_whom_it_is_of():
    epsilons = dict.fromkeys(results.EPSILONS.values(), 1.23441)
    own = {'privacy': {'deployment': None, 'num_users': 964, **epsilons}}
    simulated = {'privacy': {'deployment': {'num_users': 96_400, **epsilons}, 'num_users': 964}}
    common = {'shown': {}, 'wall_seconds': 1.0}
    rows = [results.row({**common, **each}) for each in (own, simulated)]
    assert [row['epsilon of'] for row in rows] == ['these 964 users', 'simulated 96,400 users']
    # Rounded up, as everywhere.
    assert '| 1.235 |' in results.to_markdown(rows)


def test_figures_show_what_is_there():
    picture = figures.lines(ROWS, 'z', 'recall@FAR=0.001', 'method')
    labels = [text.get_text() for text in picture.axes[0].get_legend().get_texts()]
    assert labels == ['b', 'a'] or labels == ['a', 'b']
    assert figures.lines([{'z': 1}], 'z', 'recall@FAR=0.001', 'method') is None
    picture = figures.parallel_coordinates(ROWS, ['method', 'z'], 'recall@FAR=0.001')
    texts = [text.get_text() for text in picture.axes[0].texts]
    assert {'method', 'z', 'a', 'b', '0.8'} <= set(texts)
