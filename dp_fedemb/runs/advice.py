"""Settings for a collection, from counts that are public: users, images, size.

What is chosen is a start that has been measured on small collections (docs/data.md), not
an optimum; and a word, before anything is spent, where the noise would drown what users
can teach.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any, Optional

import numpy as np

from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.privacy import calibration
from dp_fedemb.privacy.factorization import workload as workload_lib
from dp_fedemb.privacy.reporting import signal_to_noise

# Local steps without privacy in all, and in a round: enough to leave PCA behind, and few
# enough for a new head (or batch order) to matter.
_STEPS, _STEPS_A_ROUND = 1_200, 20
_MOST_EPOCHS = 5
# With noise; of the backbones here, a few steps move the weights further.
CLIP_NORM = 0.1
# Images up to this side have backbones of their own.
_SMALL_SIDE = 40
_MOST_TOGETHER = 512
_MOST_FACTOR = 1e6
# What is advised is of use: no model has fewer weights, and no more epsilon is a promise.
_FEWEST_WEIGHTS = 500
_MOST_EPSILON = 100.0
# Of all updates of a run, if they agreed, over the noise on them: below it the noise is
# larger than what real updates, which hardly agree, leave in the model.
LEAST_SIGNAL = 5.0


@dataclasses.dataclass(frozen=True)
class Collection:
    """Public counts of a collection.

    Attributes:
        num_users: places of the roster.
        num_examples: images in all.
        image_size: side in pixels.
        channels: 1 or 3.
    """

    num_users: int
    num_examples: int
    image_size: int
    channels: int

    def __post_init__(self) -> None:
        validate.positive(**dataclasses.asdict(self))


def flags(collection: Collection, private: bool) -> dict[str, Any]:
    """Returns flags of bin/train.py by name.

    Args:
        collection: its counts.
        private: whether noise is asked for; the noise itself stays the caller's choice.
    """
    chosen = {
        'backbone': 'small_conv' if collection.image_size <= _SMALL_SIDE else 'resnet18',
        'embedding_dim': 64,
        'augment': 'glyph' if collection.channels == 1 else 'photo',
    }
    return chosen | (_private(collection) if private else _open(collection))


def _open(collection: Collection) -> dict[str, Any]:
    """Without noise: as many users together as memory allows, compared in pairs."""
    together = min(collection.num_users, _MOST_TOGETHER)
    examples = max(1, collection.num_examples * together // collection.num_users)
    batch = 64 if examples <= 1_000 else 128
    steps = math.ceil(examples / batch)
    epochs = min(_MOST_EPOCHS, max(1, round(_STEPS_A_ROUND / steps)))
    virtual_clients = max(1, min(8, collection.num_users // together))
    return {
        'virtual_clients_per_round': virtual_clients,
        'users_per_virtual_client': together,
        'rounds': max(20, math.ceil(_STEPS / (steps * epochs))),
        'local_epochs': epochs,
        'batch_size': batch,
        'head': 'supcon',
        'views': 2,
        'images_per_identity': 4,
        'client_lr': 0.03,
        'client_momentum': 0.9,
        'server_lr': 1.0,
    }


def _private(collection: Collection) -> dict[str, Any]:
    """With noise: a fifth of the users in a round, which the noise then covers at once."""
    together = 4 if collection.num_users >= 16 else 1
    return {
        'virtual_clients_per_round': max(1, collection.num_users // (5 * together)),
        'users_per_virtual_client': together,
        'rounds': 100,
        'local_epochs': 2,
        'batch_size': 32,
        'head': 'normalized',
        'head_scale': 10.0,
        'head_lr_scale': 40.0,
        'head_only_steps': 1,
        'client_lr': 0.5,
        'clip_norm': CLIP_NORM,
        'server_lr': 10.0,
        'server_momentum': 0.9,
    }


def as_flags(values: Mapping[str, Any]) -> str:
    """Returns values as a command line has them.

    >>> as_flags({'head': 'supcon', 'views': 2})
    '--head=supcon --views=2'
    """
    return ' '.join(f'--{name}={value}' for name, value in values.items())


def signal(plan: privacy.PrivacyPlan, noised_weights: int) -> float:
    """Returns the movement of a run whose updates all agree, over its noise.

    T rounds move by at most T C and, where rounds are independent, sum noise of sqrt(T)
    times a round's, so this is sqrt(T) m / (z sqrt(d)); see `signal_to_noise.largest`.
    Correlated noise takes itself back: what it leaves in the model, over what independent
    noise of its draws would, is the mechanism's to say.
    """
    rounds = workload_lib.Workload(plan.rounds)
    independent, _ = rounds.mean_squared_error(np.ones(1))
    kept = plan.mechanism.model_variance(rounds) / independent
    return math.sqrt(plan.rounds / kept) * signal_to_noise.largest(plan, noised_weights)


def warning(
    plan: privacy.PrivacyPlan, noised_weights: int, target_epsilon: Optional[float]
) -> str:
    """Says that there are too few users for the noise, and what would help; '' if not so.

    Args:
        plan: with its noise.
        noised_weights: of the model, those that are trained.
        target_epsilon: that was asked for; the plan's own by default.
    """
    if not plan.private:
        return ''
    try:
        found = signal(plan, noised_weights)
    except ValueError:
        return ''  # Trees over so many rounds that what they leave is not computed.
    if found >= LEAST_SIGNAL:
        return ''
    target = plan.epsilon() if target_epsilon is None else target_epsilon
    fewer = math.floor(noised_weights * (found / LEAST_SIGNAL) ** 2)
    lines = [
        f'WARNING: too few users for this epsilon. If all updates of all {plan.rounds:,} rounds'
        f' agreed, the model would move {found:.2g} times as far as the noise moves it; below'
        f' {LEAST_SIGNAL:g} the noise is what remains. What would help, each by itself:',
    ]
    users = _users(plan, noised_weights, target)
    if users is not None:
        there_are = plan.guarantee_population.num_users
        lines.append(f'  users: {users:,} instead of {there_are:,}, sampled as often')
    epsilon = _epsilon(plan, found)
    if epsilon is not None:
        lines.append(f'  epsilon: {privacy.rounded_up_text(epsilon, 2)} instead of {target:g}')
    if fewer >= _FEWEST_WEIGHTS:
        lines.append(
            f'  fewer noised weights: {fewer:,} instead of {noised_weights:,}, by --freeze'
            ' (conv: all but the last layers) or a smaller backbone'
        )
    lines.append(
        '  a public start, which needs less from the users: --pretrained=public, where the'
        ' task has a public part (image_folder: public pictures beside the others, each of'
        ' their folders a line "public FOLDER" of split_file); or, for grey pictures,'
        ' bin/pretrain.py --task=synthetic (drawn glyphs) of the same image_size, backbone'
        ' and embedding_dim, then --pretrained=DIRECTORY'
    )
    if epsilon is None and fewer < _FEWEST_WEIGHTS:
        lines.append(
            f'No epsilon up to {_MOST_EPSILON:g} and no freezing of layers would do: compare'
            ' whatever these few users add with the public start as it is'
        )
    return '\n'.join(lines)


def _users(plan: privacy.PrivacyPlan, noised_weights: int, target: float) -> Optional[int]:
    """About the fewest users, of whom the same share is sampled, with enough signal."""
    factor = LEAST_SIGNAL / signal(plan, noised_weights)
    while factor < _MOST_FACTOR:
        grown = _grown(plan, factor)
        try:
            if signal(privacy.calibrate(grown, target), noised_weights) >= LEAST_SIGNAL:
                return grown.guarantee_population.num_users
        except calibration.UnreachableError:
            return None
        # With more users delta is smaller, and the noise a little larger.
        factor *= 1.05
    return None


def _grown(plan: privacy.PrivacyPlan, factor: float) -> privacy.PrivacyPlan:
    """The plan for more users: of the run, or of the deployment that it simulates."""
    if plan.noise_cohort_size is not None:
        cohort = math.ceil(plan.noise_cohort_size * factor)
        return dataclasses.replace(plan, noise_cohort_size=cohort, delta=None)
    return dataclasses.replace(
        plan,
        num_users=math.ceil(plan.num_users * factor),
        virtual_clients_per_round=math.ceil(plan.virtual_clients_per_round * factor),
        delta=None,
    )


def _epsilon(plan: privacy.PrivacyPlan, found: float) -> Optional[float]:
    """Of the noise that would leave enough signal; None beyond what is of any use."""
    noise = plan.mechanism.noise_multiplier * found / LEAST_SIGNAL
    try:
        mechanism = dataclasses.replace(plan.mechanism, noise_multiplier=noise)
        epsilon = dataclasses.replace(plan, mechanism=mechanism).epsilon()
    except ValueError:
        return None
    return epsilon if epsilon <= _MOST_EPSILON else None
