"""Whether this Python can run the package, and in one line what to do if not.

Uses the standard library alone and runs by path under any interpreter:
`python dp_fedemb/environment.py` (`make doctor`) lists every problem.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import sys
from typing import Optional
import warnings

# Where TensorFlow Federated 0.87 ends and what the code is written in begins.
PYTHON = (3, 11)
FIX = (
    "run 'make venv' in a checkout, or 'pip install --no-deps --require-hashes -r"
    " requirements/lock.txt' (README, Into your own environment)"
)

# Distribution -> lowest version, first one that does not fit any more, and why.
REQUIREMENTS = {
    'tensorflow-federated': ('0.87', '0.88', 'its computations and program API'),
    'tensorflow': ('2.14', '2.15', 'TFF 0.87 is built against it'),
    'tensorflow-privacy': ('0.9', '0.10', 'its DP queries'),
    'tensorflow-datasets': ('4.9', '5', 'its builders'),
    'tensorflow-metadata': ('1.13', '1.17', 'later ones need a newer protobuf'),
    'dp-accounting': ('0.6', '1', 'earlier ones lack PLD under replace-one'),
    'numpy': ('1.25', '2', 'TF 2.14 is built against NumPy 1'),
    'scipy': ('1.9.3', '1.12', 'jax 0.4.13 uses names that 1.12 removed'),
    'jaxlib': ('0.4.13', '0.4.14', "TFF's own pin has left the package index"),
    'typing-extensions': ('4.5', '4.6', 'later ones break checkpoints of dicts in TF 2.14'),
}
# Distribution -> lowest version, first one that was not tried (what is newer is used all
# the same, after a warning), and what for.
UNTRIED = {
    'absl-py': ('1', '3', 'its flags'),
    'cryptography': ('41', '60', 'the bits of the noise'),
    'grpcio': ('1.62', '2', "TFF's executor protocol"),
    'h5py': ('3.8', '4', 'Keras weight files'),
    'matplotlib': ('3.7', '4', 'its figures'),
    'mpmath': ('1.3', '2', 'draws of noise that float64 does not decide'),
    'pillow': ('9.2', '14', 'its resampling names'),
    'tensorboard': ('2.14', '3', 'its event records'),
    'scikit-learn': ('1.3', '2', 'PCA, k-means, maps of embeddings'),
    'simplejpeg': ('1.9', '2', "libjpeg's warnings, of data that end early"),
    'tqdm': ('4.60', '5', 'its progress bars'),
}


def usable_cores() -> int:
    """Returns how many cores this process may use, which a container may limit."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def problems() -> list[str]:
    """Returns what keeps the package from running, a line each; empty if nothing does."""
    found = []
    if sys.version_info[:2] != PYTHON:
        found.append(
            f'Python {platform.python_version()}: expected {PYTHON[0]}.{PYTHON[1]}, the last'
            ' that TensorFlow Federated 0.87 runs on'
        )
    if (sys.platform, platform.machine()) != ('linux', 'x86_64'):
        found.append(
            f'{sys.platform} {platform.machine()}: TensorFlow Federated 0.87 has wheels for'
            ' Linux x86-64 only'
        )
    for name, (least, below, why) in REQUIREMENTS.items():
        version = _version(name)
        if version is None:
            found.append(f'{name} is not installed, expected >={least},<{below} ({why})')
        elif not _numbers(least) <= _numbers(version) < _numbers(below):
            found.append(f'{name} {version}, expected >={least},<{below} ({why})')
    for name, (least, _, why) in UNTRIED.items():
        version = _version(name)
        if version is None or _numbers(version) < _numbers(least):
            found.append(f'{name} {version or "is not installed"}, expected >={least} ({why})')
    return found


def untried() -> list[str]:
    """Returns which packages are newer than any that was tried, a line each."""
    found = []
    for name, (_, below, why) in UNTRIED.items():
        version = _version(name)
        if version is not None and _numbers(version) >= _numbers(below):
            found.append(f'{name} {version}: not tried from {below} on ({why})')
    return found


def _version(name: str) -> Optional[str]:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check() -> None:
    """Raises ImportError, in one line with the fix, if something does not fit.

    Packages that need TensorFlow call it when they are imported; `dp_fedemb.privacy`
    does not.
    """
    found = problems()
    if found:
        more = f' (and {len(found) - 1} more)' if len(found) > 1 else ''
        raise ImportError(f'dp_fedemb: {found[0]}{more}; {FIX}')
    for line in untried():
        warnings.warn(f'dp_fedemb: {line}', stacklevel=3)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, '0.4.13rc1' -> (0, 4, 13)."""
    found = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(n) for n in found[0].split('.')) if found else ()


def _worker_problem() -> Optional[str]:
    spec = importlib.util.find_spec('tensorflow_federated')
    if spec is None or spec.origin is None:
        return None
    worker = pathlib.Path(spec.origin).parent / 'data' / 'worker_binary'
    if not worker.exists():
        return 'tensorflow-federated lacks its C++ worker: install the Linux x86-64 wheel'
    return None


def main() -> int:
    """Prints the state of the environment; returns 1 if something is wrong."""
    print(f'Python {platform.python_version()} ({sys.executable})')
    found = problems()
    worker = _worker_problem()
    if worker:
        found.append(worker)
    for line in found:
        print(f'  problem: {line}')
    if found:
        print(f'To mend it: {FIX}.')
        return 1
    for name in (*REQUIREMENTS, *UNTRIED):
        print(f'  {name} {_version(name)}')
    for line in untried():
        print(f'  warning: {line}')
    print('Everything fits.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
