"""Private selection: the best of a secret number of trials, and nothing else, leaves.

Papernot and Steinke (2022, arXiv 2110.03620). In the directory of the search

    secret/      0700: the seed, from which number and settings of the trials follow, and
                 the trials while they run; removed when the best one is out
    released/    the best model with its statement: all that may be published

Whoever sees the number of trials or a score of one that was not the best has seen more than
is accounted, so neither is printed or kept.
"""

from collections.abc import Callable, Mapping
import json
import math
import pathlib
import shutil
from typing import Any, Optional

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import randomness

SECRET, RELEASED = 'secret', 'released'
# What a private run publishes, see `runs.directory`.
_PUBLISHED = ('config.json', 'evaluation.json', 'metrics.csv', 'saved_model')
_SEED = 'seed'
_WARNING = """Trials of a private selection. Nothing here may be published or looked at: the
number of trials, their logs, and all scores but the best are outside the guarantee.
"""


def secret_directory(path: pathlib.Path) -> pathlib.Path:
    """Returns the directory of the trials, made for its owner alone."""
    secret = path / SECRET
    files.make_private_directory(secret)
    files.write_text(secret / 'README.txt', _WARNING, 0o600)
    return secret


def secret_seed(secret: pathlib.Path) -> int:
    """Returns the seed of a selection: new the first time, the same when it goes on."""
    path = secret / _SEED
    if not path.exists():
        files.write_text(path, f'{randomness.new_secret_seed()}\n', 0o600)
    return int(path.read_text())


def choices(seed: int, selection: privacy.Selection, candidates: int) -> list[int]:
    """Returns which candidate each trial has: as many trials as were drawn.

    Args:
        seed: of the selection.
        selection: the distribution of their number.
        candidates: settings to draw from, each equally likely in each trial.
    """
    number = selection.number(seed)
    generator = randomness.generator(seed, 'settings of trials')
    return [int(each) for each in generator.integers(candidates, size=number)]


def best(scores: Mapping[str, Optional[float]]) -> Optional[str]:
    """Returns the trial with the highest score, the first of several; None of none.

    Args:
        scores: by trial; None, or NaN, is worse than any number.
    """
    known = {name: _number(score) for name, score in scores.items()}
    return max(known, key=known.__getitem__) if known else None


def release(
    path: pathlib.Path,
    run: pathlib.Path,
    state: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Copies what may be published of the best trial to `released`, whole or not at all.

    Args:
        path: of the search.
        run: directory of the best trial's run.
        state: from the trial's statement to that of the selection.

    Returns:
        The statement of the selection.
    """
    statement = state(json.loads((run / 'privacy.json').read_text()))
    with files.appearing_directory(path / RELEASED) as draft:
        for name in _PUBLISHED:
            source = run / name
            if source.is_dir():
                shutil.copytree(source, draft / name, copy_function=shutil.copyfile)
            elif source.exists():
                shutil.copyfile(source, draft / name)
        json_files.write(draft / 'privacy.json', statement)
        (draft / 'privacy.txt').write_text(privacy.statement_text(statement))
    return statement


def _number(score: Optional[float]) -> float:
    return -math.inf if score is None or math.isnan(score) else score


def forget(path: pathlib.Path) -> None:
    """Removes the trials and the seed, once the best is out."""
    shutil.rmtree(path / SECRET, ignore_errors=True)
