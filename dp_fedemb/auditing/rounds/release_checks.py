"""Checks of what a run releases: that it follows from noised sums, and holds no secret."""

from collections.abc import Iterator, Sequence
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
from numpy import typing as npt

from dp_fedemb.auditing import checks
from dp_fedemb.auditing.rounds import noise_of
from dp_fedemb.auditing.rounds import watch
from dp_fedemb.learning import server_optimizers
from dp_fedemb.models import pretrained

Array = npt.NDArray[np.float64]
# Of a weight, relative to the step that it took.
_ROUNDING = 1e-3


def same_sum(one: watch.Round, other: watch.Round) -> bool:
    """Whether two computations of a round came to the same sum, as without any client."""
    return all(np.array_equal(a, b) for a, b in zip(one.total, other.total, strict=True))


def same_release(one: watch.Round, other: watch.Round) -> checks.Check:
    """Whether a round that was computed again with the same sum gave the same weights."""
    weights = [each.after.global_model_weights.trainable for each in (one, other)]
    return checks.holds(
        'a round that is computed again with the same sum is the same release',
        all(np.array_equal(a, b) for a, b in zip(*weights, strict=True)),
        f'attempt {other.attempt}',
    )


def post_processing(
    rounds: Sequence[watch.Round], optimizer: Any, ema: float
) -> Iterator[checks.Check]:
    """Whether weights and their average follow from noised means alone.

    Args:
        rounds: from the first on.
        optimizer: as the settings say.
        ema: decay of the average; 0 for none.
    """
    worst = 0.0
    for seen in rounds:
        found = noise_of.next_weights(optimizer, seen, noise_of.mean_update(seen))
        weights = seen.after.global_model_weights.trainable
        worst = max(
            worst, _distance(found, weights, seen.before.global_model_weights.trainable)
        )
    yield checks.holds(
        'released weights follow from the noised mean alone',
        worst <= _ROUNDING,
        f'up to {worst:.1e} of a step off',
    )
    if not ema:
        return
    average: list[Array] = []
    weight, worst = 0.0, 0.0
    for seen in rounds:
        own = [np.asarray(w, np.float64) for w in seen.after.global_model_weights.trainable]
        average = [ema * a + b for a, b in zip(average, own, strict=True)] if average else own
        weight = ema * weight + 1
        stated = server_optimizers.averaged(seen.after.finalizer)
        assert stated is not None
        mean = [part / weight for part in average]
        worst = max(worst, _distance(mean, stated, seen.before.global_model_weights.trainable))
    yield checks.holds(
        'the released average is that of released weights',
        worst <= _ROUNDING,
        f'up to {worst:.1e} of a step off',
    )


def published(
    path: pathlib.Path,
    found: Sequence[np.ndarray],
    rounds: Sequence[watch.Round],
    seed: int,
) -> Iterator[checks.Check]:
    """Checks what the directory of the run shows to others.

    Args:
        path: of the directory.
        found: weights of its SavedModel.
        rounds: all rounds of the run.
        seed: the secret.
    """
    last = rounds[-1].after
    known = [last.global_model_weights.trainable]
    average = server_optimizers.averaged(last.finalizer)
    if average is not None:
        known.append(average)
    worst = min(_distance(found, each, known[0]) for each in known)
    yield checks.holds(
        'the model on the disk is one of the noised rounds',
        worst <= 1e-6,
        f'{worst:.1e} of its norm off',
    )
    texts = [str(seed).encode(), f'{seed:x}'.encode()]
    size = max((seed.bit_length() + 7) // 8, 1)
    if size >= 8:
        texts += [seed.to_bytes(size, 'little'), seed.to_bytes(size, 'big')]
    public = [each for each in path.rglob('*') if each.is_file() and not _secret(each, path)]
    telling = [p.name for p in public if any(text in p.read_bytes() for text in texts)]
    open_to_others = [
        each.name
        for each in path.rglob('*')
        if _secret(each, path) and each.is_file() and os.stat(each.parent).st_mode & 0o077
    ]
    yield checks.holds(
        'the secret seed is in nothing that is published',
        not telling and not open_to_others,
        f'{len(public)} files; telling: {", ".join(telling) or "none"}; secrets that others'
        f' may read: {", ".join(open_to_others) or "none"}',
    )


def counted(path: pathlib.Path, origin: pretrained.Origin) -> checks.Check:
    """Checks that a run's statement has in its sum what its start has seen.

    Args:
        path: directory of the run.
        origin: of its start.
    """
    stated = json.loads((path / pretrained.STATEMENT).read_text())
    behind = [dataclasses.asdict(ancestor) for ancestor in origin.ancestors]
    own, total = stated['epsilon_user'], stated['epsilon_user_total']
    if all(ancestor.private for ancestor in origin.ancestors):
        least = own + sum(ancestor.epsilon or 0.0 for ancestor in origin.ancestors)
        right = total is not None and total >= least - 1e-9 and stated['private']
    else:
        right = total is None and not stated['private']
    words = 'none' if total is None else f'{total:.4g}'
    return checks.holds(
        'the statement counts what the start has seen',
        right and stated['ancestors'] == behind and stated['start'] == origin.text,
        f'epsilon {own:.4g} of the run, {words} with {len(behind)} before it',
    )


def _secret(each: pathlib.Path, path: pathlib.Path) -> bool:
    return each.relative_to(path).parts[0] in ('checkpoints', 'profile')


def _distance(one: Sequence[Any], other: Sequence[Any], before: Sequence[Any]) -> float:
    """Norm of the difference of two lists, over that of what moved since `before`."""
    flat = [
        np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in each])
        for each in (one, other, before)
    ]
    moved = float(np.linalg.norm(flat[1] - flat[2])) or float(np.linalg.norm(flat[1])) or 1.0
    return float(np.linalg.norm(flat[0] - flat[1])) / moved
