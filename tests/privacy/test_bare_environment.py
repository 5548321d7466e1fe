"""The privacy package where nothing but NumPy and SciPy is installed.

In an interpreter without site-packages whose path holds these alone, and in every other
interpreter at hand that has them. `DP_FEDEMB_INTERPRETERS` names more, by path.
"""

import ast
import functools
import glob
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tests' / 'privacy' / 'bare_environment.py'
DISTRIBUTIONS = ('numpy', 'scipy')
GROUND = ('validate', 'settings', 'tables', 'files', 'randomness', 'environment')


def interpreters():
    """Other interpreters from Python 3.9 on, by path."""
    named = os.environ.get('DP_FEDEMB_INTERPRETERS', '').split(os.pathsep)
    pyenv = pathlib.Path.home() / '.pyenv' / 'versions'
    found = [*filter(None, named), *sorted(glob.glob(f'{pyenv}/3.*/bin/python'))]
    return [path for path in found if '/3.6.' not in path and '/3.7.' not in path]


def run(python, *options, path):
    environment = {'PYTHONPATH': os.pathsep.join(map(str, path)), 'PATH': os.environ['PATH']}
    return subprocess.run(
        [python, *options, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=environment,
        cwd='/',
        check=False,
    )


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
    """A directory with the distributions alone, and with our package."""
    site = tmp_path_factory.mktemp('bare')
    for name in DISTRIBUTIONS:
        parts = {file.parts[0] for file in importlib.metadata.files(name)}
        for part in parts - {'..', '__pycache__'}:
            source = importlib.metadata.distribution(name).locate_file(part)
            if not (site / part).exists():
                (site / part).symlink_to(source)
    (site / 'dp_fedemb').symlink_to(ROOT / 'dp_fedemb')
    return site


@functools.lru_cache
def figures_here():
    result = run(sys.executable, path=[ROOT])
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)['figures']


def flat(figures):
    return [x for item in figures for x in (flat(item) if isinstance(item, list) else [item])]


def test_with_numpy_and_scipy_alone(bare):
    # -S leaves out all of site-packages but what the path names.
    result = run(sys.executable, '-S', path=[bare])
    assert result.returncode == 0, result.stderr[-2000:]
    answer = json.loads(result.stdout)
    # No version of dp-accounting can change a figure: it takes no part.
    heavy = {'tensorflow', 'tensorflow_federated', 'jax', 'matplotlib', 'dp_accounting'}
    assert not heavy & {*answer['foreign']}
    assert flat(answer['figures']) == pytest.approx(flat(figures_here()), rel=1e-12)
    # What needs TensorFlow says so, in one line with the way out.
    assert 'tensorflow' in answer['refused'] and '\n' not in answer['refused']
    assert 'make venv' in answer['refused']


@pytest.mark.parametrize('python', interpreters() or ['none'])
def test_other_interpreters_compute_the_same(python):
    """Whatever versions of NumPy and SciPy (and of dp-accounting) they have."""
    probe = 'import numpy, scipy, sys; assert sys.version_info >= (3, 9)'
    if (
        python == 'none'
        or subprocess.run([python, '-c', probe], capture_output=True).returncode
    ):
        pytest.skip(f'{python}: below 3.9, or without NumPy or SciPy')
    result = run(python, path=[ROOT])
    assert result.returncode == 0, result.stderr[-2000:]
    figures = flat(json.loads(result.stdout)['figures'])
    assert figures == pytest.approx(flat(figures_here()), rel=1e-9)


def test_no_file_of_it_needs_more_than_python_3_9():
    """Grammar, and what is evaluated when a module is loaded."""
    paths = [*(ROOT / 'dp_fedemb' / 'privacy').rglob('*.py')]
    paths += [ROOT / 'dp_fedemb' / f'{name}.py' for name in GROUND]
    assert len(paths) > 40
    for path in paths:
        tree = ast.parse(path.read_text(), str(path), feature_version=(3, 9))
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Match), path
            annotations = [getattr(node, 'annotation', None), getattr(node, 'returns', None)]
            for annotation in filter(None, annotations):
                unions = [n for n in ast.walk(annotation) if isinstance(n, ast.BinOp)]
                assert not unions, f'{path}:{annotation.lineno}: X | Y, expected Union'
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'zip':
                assert not node.keywords, f'{path}:{node.lineno}: zip(strict=...)'
