"""The README's code runs as it stands, and its commands and links exist; docs/use.md too."""

import csv
import importlib
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text()
USE = (ROOT / 'docs' / 'use.md').read_text()


def blocks(language, text=README):
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


def test_python_runs(tmp_path):
    code = '\n'.join(blocks('python'))
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # Of the pipeline's own, and of the whole algorithm's statement.
    assert result.stdout.count('-differentially private at the level of users') >= 2
    assert 'PRIVACY STATEMENT' in result.stdout


def commands():
    for block in [*blocks('console'), *blocks('console', USE)]:
        for line in block.replace('\\\n', ' ').splitlines():
            if line.startswith('$ '):
                yield shlex.split(line[2:], comments=True)


def test_flags_of_the_commands_exist():
    checked = 0
    helps = {}
    for program, *arguments in commands():
        if not program.startswith('bin/'):
            continue
        if program not in helps:
            result = subprocess.run(
                [sys.executable, str(ROOT / program), '--helpfull'],
                capture_output=True,
                text=True,
            )
            helps[program] = result.stdout + result.stderr
        for argument in arguments:
            if argument.startswith('--'):
                name = argument[2:].split('=')[0]
                assert re.search(rf'--(\[no\])?{name}\b', helps[program]), (program, name)
                checked += 1
    assert checked > 15


def test_names_of_the_program_exist():
    (code,) = blocks('python', USE)
    names = re.findall(r'\b(evaluation|export|gallery)\.(\w+)\(', code)
    assert len(names) == 7
    for package, name in names:
        assert hasattr(importlib.import_module(f'dp_fedemb.{package}'), name), name


def test_privacy_commands_answer(tmp_path):
    for program, *arguments in commands():
        if program == 'bin/privacy.py' and arguments[0] != 'plan':
            result = subprocess.run(
                [sys.executable, str(ROOT / program), *arguments],
                capture_output=True,
                text=True,
                # Where it may write, as it may not below another user's files.
                cwd=tmp_path,
            )
            assert result.returncode == 0 and 'epsilon' in result.stdout.lower(), result.stderr


def test_make_targets_exist():
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'(?:`|\$ )make (\w+)', README):
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target


def test_links_exist():
    for link in re.findall(r'\]\((?!http)([^)]+)\)', README):
        assert (ROOT / link).exists(), link


def test_no_placeholder_is_left():
    assert not re.findall(r'[A-Z]+_TABLE', README)


def test_the_demos_neighbours_are_those_of_the_table():
    rows = list(csv.DictReader((ROOT / 'docs/results/epsilon/runs.csv').open()))

    def mean(method, epsilon):
        found = [
            float(row['recall@FAR=0.001'])
            for row in rows
            if row['method'].startswith(method)
            and row['target_epsilon'] not in ('', None)
            and float(row['target_epsilon']) == epsilon
        ]
        assert len(found) >= 3
        return f'{statistics.fmean(found):.3f}'

    beside = (ROOT / 'docs/results/epsilon/beside.txt').read_text()
    assert f'at epsilon 8 this method reaches {mean("DP-FedEmb here", 8)};' in beside
    assert f'at epsilon 2 DP-FedAvg is left with {mean("DP-FedAvg", 2)}.' in beside
    for method in ('DP-FedEmb here', 'DP-FedEmb as published', 'DP-FedAvg'):
        for epsilon in (2, 8):
            assert mean(method, epsilon) in README
    assert 'cat docs/results/epsilon/beside.txt' in (ROOT / 'Makefile').read_text()
