"""The benchmark's arithmetic and table, and one group run for real."""

import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(path, monkeypatch):
    """Imports a program of bin/ under another name."""
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(f'{path.stem}_under_test', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_of_flags(name):
    return name.split('.')[0] == 'flags'


def forget_flags():
    for name in filter(is_of_flags, list(sys.modules)):
        del sys.modules[name]


@pytest.fixture
def measuring(monkeypatch):
    return load(ROOT / 'bin' / 'benchmarks' / 'measuring.py', monkeypatch)


@pytest.fixture
def benchmark(monkeypatch):
    # Flags are global: an object of its own, so that other binaries' do not clash.
    from absl import flags

    monkeypatch.setattr(flags, 'FLAGS', flags.FlagValues())
    for name in ('DEFINE_bool', 'DEFINE_list'):
        monkeypatch.setattr(flags, name, lambda *arguments, **options: None)
    kept = {name: module for name, module in sys.modules.items() if is_of_flags(name)}
    forget_flags()
    yield load(ROOT / 'bin' / 'benchmark.py', monkeypatch)
    # What it shares with others holds these flags.
    forget_flags()
    sys.modules.update(kept)


def test_ratio_is_the_median_of_pairs_and_not_of_rates(measuring):
    rates = {'ours': [10.0, 100.0, 6.0], 'theirs': [10.0, 50.0, 3.0]}
    result = measuring.ratio(rates, 'ours', 'theirs')
    assert result['value'] == 2.0  # The medians' ratio is 1.
    assert (result['min'], result['max'], result['pairs']) == (1.0, 2.0, 3)
    assert result['ours_per_s'] == result['theirs_per_s'] == 10.0


def test_works_take_turns_and_the_first_turn_does_not_count(measuring):
    order = []
    works = {name: lambda name=name: order.append(name) or 1 for name in 'ab'}
    rates = measuring.interleaved(works, 2)
    assert ''.join(order) == 'ababab'
    assert [len(values) for values in rates.values()] == [2, 2]


def test_memory_of_child_processes_counts(measuring):
    program = 'x = bytearray(80 * 2**20); print(flush=True); input()'
    before = measuring.resident()
    with subprocess.Popen(
        [sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        with_child = measuring.resident()
        child.communicate(b'\n')
    assert 80 <= with_child - before < 200


@pytest.mark.parametrize(
    'value, target, expected',
    [
        (0.95, 0.95, True),
        (0.94, 0.95, False),
        (1.0, '<1', True),
        (1.01, '<1', False),
        (0, '<0', True),
        (1, '<0', False),
    ],
)
def test_targets_are_lower_bounds_or_upper_ones(benchmark, value, target, expected):
    assert benchmark._met(value, target) is expected


def test_table_marks_what_is_missed_and_what_was_skipped(benchmark):
    table = benchmark._table(
        {
            'throughput_vs_limit': {'value': 0.97, 'pairs': 5},
            'startup_s': {'value': 4.5},
            'throughput_vs_pfl': {'skipped': 'not installed'},
        }
    )
    _, met, missed, skipped = table.splitlines()
    assert '0.970' in met and '>= 0.95' in met and 'pairs 5' in met and 'MISSED' not in met
    assert '<= 4' in missed and missed.endswith('MISSED')
    assert 'skipped' in skipped and 'not installed' in skipped


@pytest.mark.parametrize(
    'gate, value, code', [(True, 0.9, True), (True, 0.96, False), (False, 0.9, False)]
)
def test_the_gate_closes_where_a_target_is_missed(
    benchmark, monkeypatch, capsys, gate, value, code
):
    flags = types.SimpleNamespace(only=['throughput'], quick=True, json=False, gate=gate)
    monkeypatch.setattr(benchmark, 'FLAGS', flags)
    found = {'throughput_vs_limit': {'value': value}, 'throughput_vs_pfl': {'skipped': 'none'}}
    monkeypatch.setattr(benchmark, '_run', lambda group: found)
    with pytest.raises(SystemExit) if code else contextlib.nullcontext() as end:
        benchmark.main([])
    if code:
        assert end.value.code == 'error: missed the target of throughput_vs_limit'
    assert 'throughput_vs_limit' in capsys.readouterr().out


def test_a_failed_group_is_one_line(benchmark, tmp_path, monkeypatch):
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'benchmarks' / 'broken.py').write_text('raise KeyError("no such thing")')
    monkeypatch.setattr(benchmark, '__file__', str(tmp_path / 'benchmark.py'))
    monkeypatch.setattr(benchmark, 'FLAGS', types.SimpleNamespace(quick=True))
    with pytest.raises(benchmark.GroupFailedError) as error:
        benchmark._run('broken')
    assert str(error.value) == "broken failed: KeyError: 'no such thing'"


def test_every_group_has_a_program(benchmark):
    for group in benchmark._GROUPS:
        assert (ROOT / 'bin' / 'benchmarks' / f'{group}.py').exists()


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / 'bin' / 'benchmark.py'), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_unknown_groups_are_one_line():
    result = run('--only=nope')
    assert result.returncode == 2
    assert result.stderr.strip() == (
        'error: only=nope: expected some of throughput, pfl, memory, startup, evaluation,'
        ' workers, resnet50, noise'
    )


def test_evaluation_for_real():
    result = run(
        '--only=evaluation', '--quick', '--json', DP_FEDEMB_BENCHMARK_EMBEDDINGS='3000'
    )
    assert result.returncode == 0, result.stderr[-2000:]
    figures = json.loads(result.stdout)['eval_pairs_per_s']
    assert 0 < figures['min'] <= figures['value'] <= figures['max']


def test_pfl_is_skipped_with_a_word_where_there_is_none():
    result = run('--only=pfl', '--json', DP_FEDEMB_PFL_PYTHON='')
    assert result.returncode == 0, result.stderr[-2000:]
    assert 'DP_FEDEMB_PFL_PYTHON' in json.loads(result.stdout)['throughput_vs_pfl']['skipped']
