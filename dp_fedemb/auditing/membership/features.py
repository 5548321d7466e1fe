"""What an attacker sees of one user in a released embedding model.

Each feature is one number for a user, greater where the user was probably trained on,
from embeddings of the user's images. It never sees whether one image or another was in
training: the unit is the user.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import typing as npt

Array = npt.NDArray[np.float64]
# Embeddings of one user, [n, D] of norm 1; at least two.
Users = Sequence[Array]


def compactness(users: Users, reference: Users) -> Array:
    """Mean similarity of two images of the user: training pulls them together.

    The user-level attack on metric learning of Li et al. (2022, "User-Level Membership
    Inference Attack against Metric Embedding Learning", arXiv 2203.02077), section 4.

    Args:
        users: embeddings of each user.
        reference: not needed.
    """
    del reference
    values = []
    for embeddings in users:
        count = len(embeddings)
        if count < 2:
            raise ValueError(
                f'a user with {count} images: expected at least 2, whose similarity tells'
            )
        total = embeddings.sum(axis=0)
        values.append((total @ total - np.sum(embeddings**2)) / (count * (count - 1)))
    return np.array(values)


def separation(users: Users, reference: Users) -> Array:
    """Compactness, less how similar the user is to its nearest in a population.

    A person whose images look alike to any model is compact without having been trained
    on; what training adds is distance from everybody else.

    Args:
        users: embeddings of each user.
        reference: embeddings of others, who are no candidates.
    """
    centres = np.array([embeddings.mean(axis=0) for embeddings in reference])
    nearest = np.array([np.mean((each @ centres.T).max(axis=1)) for each in users])
    return compactness(users, reference) - nearest


# Name -> feature.
FEATURES: dict[str, Callable[[Users, Users], Array]] = {
    'compactness': compactness,
    'separation': separation,
}
