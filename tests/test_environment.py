"""The environment check: one line that names the fix; light imports."""

import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

from dp_fedemb import environment

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_the_locked_environment_fits():
    assert environment.problems() == []
    environment.check()


@pytest.mark.parametrize(
    'name, version', [('numpy', '2.0.1'), ('tensorflow', '2.15.0rc1'), ('jaxlib', '0.4.12')]
)
def test_a_version_that_does_not_fit_is_one_line_with_the_fix(monkeypatch, name, version):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, 'version', lambda n: version if n == name else real(n)
    )
    with pytest.raises(ImportError) as error:
        environment.check()
    message = str(error.value)
    assert f'{name} {version}' in message and 'make venv' in message and '\n' not in message


def test_a_missing_package(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'version', version)
    assert len(environment.problems()) == len(environment.REQUIREMENTS) + len(
        environment.UNTRIED
    )
    with pytest.raises(ImportError, match='is not installed.*and .* more'):
        environment.check()


def test_what_is_newer_than_tried_warns_and_does_not_raise(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, 'version', lambda n: '99.1' if n == 'pillow' else real(n)
    )
    with pytest.warns(UserWarning, match='pillow 99.1: not tried from 14 on'):
        environment.check()


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(sys, 'version_info', (3, 12, 1, 'final', 0))
    assert 'expected 3.11' in environment.problems()[0]


def test_the_lock_fits_the_check():
    pins = {}
    for line in (ROOT / 'requirements' / 'lock.txt').read_text().splitlines():
        if '==' in line and not line.startswith((' ', '#')):
            name, version = line.split(' ')[0].split('==')
            pins[name] = version
    known = environment.REQUIREMENTS | environment.UNTRIED
    for name, (least, below, _) in known.items():
        numbers = environment._numbers(pins[name])
        assert environment._numbers(least) <= numbers < environment._numbers(below), name


def test_doctor_runs_without_any_package():
    script = ROOT / 'dp_fedemb' / 'environment.py'
    result = subprocess.run(
        [sys.executable, '-I', '-S', str(script)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert 'problem: tensorflow-federated is not installed' in result.stdout
    assert 'To mend it' in result.stdout


def test_importing_the_package_loads_no_tensorflow():
    code = (
        'import sys, dp_fedemb, dp_fedemb.privacy;'
        ' print([m for m in sys.modules if m.startswith(("tensorflow", "keras"))])'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == '[]', result.stderr


def test_public_names_exist():
    import dp_fedemb

    for name in dp_fedemb.__all__:
        assert getattr(dp_fedemb, name) is not None
    with pytest.raises(AttributeError, match='no_such_name'):
        _ = dp_fedemb.no_such_name
