"""From features of a target model, and of shadow models, to scores of users.

The likelihood ratio needs models that were trained like the target on other users:
shadow models. Of each it knows whom it was trained on (Carlini et al. 2022, "Membership
Inference Attacks From First Principles", arXiv 2112.03570, with few shadows and so one
variance for all users).
"""

from typing import Optional

import numpy as np
from numpy import typing as npt

Array = npt.NDArray[np.float64]
# A user seen once on a side counts half as much as the mean of all users.
_PRIOR = 1.0


def likelihood_ratio(target: Array, shadows: Array, members: npt.NDArray[np.bool_]) -> Array:
    """Returns the log likelihood ratio of membership of each user.

    Args:
        target: [users], the feature in the target model.
        shadows: [models, users], the feature in each shadow model.
        members: [models, users], whom each shadow model was trained on.

    Raises:
        ValueError: without shadow models that have seen some users, and not all.
    """
    if not members.any() or members.all() or shadows.shape != members.shape:
        raise ValueError(
            f'shadows {list(shadows.shape)}, members {list(members.shape)}: expected the same,'
            ' with members and non-members'
        )
    densities = []
    for side in (members, ~members):
        count = side.sum(axis=0)
        overall = shadows[side].mean()
        # The user's own mean, drawn towards where users of this side are expected: the
        # user's mean over all models, moved by what membership adds on average.
        base = shadows.mean(axis=0) - shadows.mean() + overall
        own = np.where(side, shadows, 0.0).sum(axis=0)
        mean = (own + _PRIOR * base) / (count + _PRIOR)
        spread = np.sum(np.where(side, shadows - mean, 0.0) ** 2) / max(side.sum() - 1, 1)
        # The target differs by its own spread and by the error of the mean.
        variance = max(spread, 1e-12) * (1 + 1 / (count + _PRIOR))
        densities.append(-((target - mean) ** 2) / (2 * variance) - np.log(variance) / 2)
    return densities[0] - densities[1]


def shadow_scores(
    features: Array, members: npt.NDArray[np.bool_], target: Optional[int] = None
) -> Array:
    """Returns likelihood ratios of one model, the others being its shadows.

    Args:
        features: [models, users].
        members: [models, users].
        target: index of the attacked model; all in turn by default, [models, users].
    """
    if target is None:
        return np.array(
            [shadow_scores(features, members, index) for index in range(len(features))]
        )
    others = np.arange(len(features)) != target
    return likelihood_ratio(features[target], features[others], members[others])
