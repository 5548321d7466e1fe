"""What can be audited of a run that is finished: its plan's mechanism, and its model.

Its training is over: nobody's coin decided who was in it, so nothing of it bounds epsilon
from below. What is left is to try the mechanism at its settings, to hold its statement
against its plan, and to ask how well its model tells those it was trained on from others.
"""

import dataclasses
import math
import os
import pathlib
from typing import Any, Union

import numpy as np

from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import settings as settings_lib
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.membership import features as features_lib
from dp_fedemb.auditing.membership import game
from dp_fedemb.auditing.membership import roc
from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import inference

_LEAST_USERS = 16
_WAY_OUT = 'give the directory of a run of bin/train.py, or the flags of its plan'


def read_plan(run: Union[str, 'os.PathLike[str]']) -> privacy.PrivacyPlan:
    """Returns the plan that a run's config.json names.

    Raises:
        ValueError: where there is no config.json of a run, or it is damaged.
    """
    path = pathlib.Path(run).expanduser() / 'config.json'
    config = json_files.read(_there(path), _WAY_OUT)
    with json_files.whole(path, _WAY_OUT):
        known = dict(config['plan'])
        mechanism = _part(known.pop('mechanism'), privacy.MECHANISMS)
        sampling = _part(known.pop('sampling'), privacy.SAMPLINGS)
        return privacy.PrivacyPlan(mechanism=mechanism, sampling=sampling, **known)


def _there(path: pathlib.Path) -> pathlib.Path:
    if not path.exists():
        raise ValueError(f'model={str(path.parent)!r}: has no {path.name}; {_WAY_OUT}')
    return path


def _part(known: dict[str, Any], choices: Any) -> Any:
    cls = choices[known['name']]
    # A strategy follows from the others.
    taken = {f.name for f in dataclasses.fields(cls)} - {'strategy'}
    values = {**settings_lib.absent(cls), **{n: known[n] for n in known if n in taken}}
    if values.get('clip_norm', 0.0) is None:
        values['clip_norm'] = math.inf
    return cls(**values)


def statement_checks(
    run: Union[str, 'os.PathLike[str]'], plan: privacy.PrivacyPlan
) -> list[checks.Check]:
    """Holds what a run's privacy.json states against what its plan costs.

    Raises:
        ValueError: where there is no statement, or it is damaged.
    """
    path = pathlib.Path(run).expanduser() / 'privacy.json'
    stated = json_files.read(_there(path), _WAY_OUT)
    with json_files.whole(path, _WAY_OUT):
        rounds, epsilon = int(stated['rounds_completed']), stated['epsilon_user']
        epsilon = math.inf if epsilon is None else float(epsilon)
        costs = plan.epsilon(rounds)
    return [
        checks.holds(
            "the run's statement claims no less than its plan costs",
            epsilon >= costs * (1 - 1e-9),
            f'{epsilon:.4f} stated, {costs:.4f} for {rounds} rounds',
        )
    ]


def attack_model(
    model: inference.SavedEmbeddingModel,
    members: store_lib.UserStore,
    others: store_lib.UserStore,
    images: int,
    most: int,
) -> tuple[list[dict[str, Any]], int, int]:
    """Attacks a model that somebody trained: members against people it has never seen.

    No shadow models, and no bound: that the two differ may be the people, not the training.

    Args:
        model: that is released.
        members: users it was trained on.
        others: users it was not trained on; a third of them is the reference population.
        images: most of a user, the first ones.
        most: users of each side.

    Returns:
        Rows as `game.Attack.to_json` gives them, without bounds; members; others.

    Raises:
        ValueError: for too few users of either side with two images.
    """
    sides = [_users(store, images, most) for store in (members, others)]
    for name, store, rows in zip(('train', 'test'), (members, others), sides, strict=True):
        if len(rows) < _LEAST_USERS:
            raise ValueError(
                f'part {name} has {len(rows)} users with two images, of'
                f' {store.num_users:,}: expected at least {_LEAST_USERS}'
            )
    cut = len(sides[1]) // 3
    reference = _embedded(model, others, sides[1][:cut])
    asked = _embedded(model, members, sides[0]) + _embedded(model, others, sides[1][cut:])
    bits = np.arange(len(asked)) < len(sides[0])
    found: list[dict[str, Any]] = []
    for name, feature in features_lib.FEATURES.items():
        scores = feature(asked, reference)
        rates = [{**rate.to_json(), 'allowed_tpr': None} for rate in roc.rates(scores, bits)]
        found.append(
            {
                'attack': name,
                'images': game.SEEN,
                'auc': roc.auc(scores, bits),
                'rates': rates,
                'bound': None,
            }
        )
    return found, int(bits.sum()), int((~bits).sum())


def _users(store: store_lib.UserStore, images: int, most: int) -> list[np.ndarray]:
    """Rows of users drawn at random, of each the first images."""
    several = np.flatnonzero(np.diff(store.user_splits) >= 2)
    drawn = np.sort(np.random.default_rng(0).permutation(several)[:most])
    spans = [store.user_splits[user : user + 2] for user in drawn]
    return [np.arange(start, min(end, start + images)) for start, end in spans]


def _embedded(
    model: inference.SavedEmbeddingModel, store: store_lib.UserStore, rows: list[np.ndarray]
) -> list[np.ndarray]:
    together = inference.embed(model, store.examples[np.concatenate(rows)])
    ends = np.cumsum([len(each) for each in rows])[:-1]
    return np.split(together.astype(np.float64), ends)
