"""The membership game: models on random halves of the users, all attacked in turn.

Every user's images are cut in two: those a model may be trained on, and others of the
same person, which no model ever sees. Whom a model is trained on is decided by fair coins;
the others are its non-members, and each model has all others as shadows. A quarter of the
users is kept out of all trainings, as the attacker's reference population.

The rates at which members are found describe an attack; a lower bound of epsilon comes from
the guesses of one model's coins, as for canaries (`estimators.f_dp`).
"""

from collections.abc import Callable
import dataclasses
import pathlib
import tempfile
from typing import Any, Optional

import numpy as np
from numpy import typing as npt

from dp_fedemb import privacy
from dp_fedemb.auditing import training as training_lib
from dp_fedemb.auditing.estimators import claim as claim_lib
from dp_fedemb.auditing.estimators import f_dp
from dp_fedemb.auditing.membership import attacks
from dp_fedemb.auditing.membership import features as features_lib
from dp_fedemb.auditing.membership import roc
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import store_writer
from dp_fedemb.evaluation import inference

LIKELIHOOD = 'likelihood ratio'
SEEN, OTHER = 'training images', 'other images'


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Users of a store who may be members, and those who are the reference.

    Attributes:
        store: all of them.
        candidates: int64, indices of users.
        reference: int64, indices of users.
        images: most images of a user that a model may be trained on, and as many others.
    """

    store: store_lib.UserStore
    candidates: npt.NDArray[np.int64]
    reference: npt.NDArray[np.int64]
    images: int

    @classmethod
    def of_store(
        cls, store: store_lib.UserStore, images: int, seed: int, most: Optional[int] = None
    ) -> 'Candidates':
        """Draws candidates from the users with at least four images.

        Args:
            store: the users.
            images: as above.
            seed: of the draw.
            most: candidates; all by default.

        Raises:
            ValueError: for fewer than 16 users with so many images.
        """
        count = np.diff(store.user_splits)
        usable = np.random.default_rng(seed).permutation(np.flatnonzero(count >= 4))
        if len(usable) < 16:
            raise ValueError(
                f'{len(usable)} users with at least four images: expected at least 16'
            )
        cut = len(usable) // 4
        candidates = usable[cut:]
        if most is not None:
            candidates = candidates[:most]
        return cls(store, np.sort(candidates), np.sort(usable[:cut]), images)

    def rows(self, user: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows that a model may be trained on, and others of the same user."""
        first, end = self.store.user_splits[user : user + 2]
        rows = np.random.default_rng([int(user), 1]).permutation(np.arange(first, end))
        size = min(self.images, len(rows) // 2)
        return rows[:size], rows[size : 2 * size]

    def write(self, path: pathlib.Path, users: npt.NDArray[np.int64]) -> store_lib.UserStore:
        """Writes a store of the training images of users."""
        with store_writer.UserStoreWriter(path, self.store.example_spec) as writer:
            for user in users.tolist():
                rows, _ = self.rows(user)
                names = [
                    self.store.identity_names[identity]
                    for identity in self.store.identities[rows]
                ]
                writer.add_user(
                    np.asarray(self.store.examples[rows]), names, self.store.user_names[user]
                )
        return store_lib.UserStore.open(path)


@dataclasses.dataclass(frozen=True)
class Attack:
    """One attack on one kind of images.

    Attributes:
        name: of the attack.
        images: `SEEN` or `OTHER`.
        scores: [models, users].
        members: [models, users].
    """

    name: str
    images: str
    scores: npt.NDArray[np.float64]
    members: npt.NDArray[np.bool_]

    def to_json(self, claim: claim_lib.Claim, confidence: float = 0.95) -> dict[str, Any]:
        """Returns JSON values, with what the guarantee allows.

        Args:
            claim: of the trainings.
            confidence: of the lower bound of epsilon.
        """
        bound = f_dp.estimate(self.scores[0], self.members[0], claim, confidence)
        values = []
        for rate in roc.rates(self.scores, self.members):
            allowed = roc.allowed(claim.curve, rate.fpr) if claim.private else 1.0
            values.append({**rate.to_json(), 'allowed_tpr': allowed})
        return {
            'attack': self.name,
            'images': self.images,
            'auc': roc.auc(self.scores.ravel(), self.members.ravel()),
            'rates': values,
            'bound': bound.to_json(),
        }


def play(
    candidates: Candidates,
    training: training_lib.Training,
    plan: Callable[[int], privacy.PrivacyPlan],
    *,
    models: int = 4,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Attack]:
    """Trains the models and attacks them.

    Args:
        candidates: the users.
        training: how models are trained.
        plan: from a number of users to the plan; every model has a run of its own.
        models: at least 3: one is attacked, the others are shadows.
        seed: of the halves; the secret seeds come from the operating system.
        tell: called with what is being done.

    Raises:
        ValueError: for fewer models.
    """
    if models < 3:
        raise ValueError(f'models={models}: expected at least 3, a target and its shadows')
    users = candidates.candidates
    generator = np.random.default_rng(seed)
    # Fair coins for every user and model. (Were every user in exactly half of the models,
    # the shadows' bits would tell the target's.)
    members = generator.random((models, len(users))) < 0.5
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for index, half in enumerate(members):
        tell(f'training model {index + 1} of {models}')
        with tempfile.TemporaryDirectory(prefix='audit-') as folder:
            store = candidates.write(pathlib.Path(folder) / 'store', users[half])
            run = privacy.PrivateRun.start(plan(store.num_users))
            weights = training.last_release(run, store)
        for key, values in _features(candidates, training, weights).items():
            found.setdefault(key, []).append(values)
    result = []
    for (name, images), by_model in found.items():
        scores = np.array(by_model)
        result.append(Attack(name, images, scores, members))
        ratios = attacks.shadow_scores(scores, members)
        result.append(Attack(f'{LIKELIHOOD} of {name}', images, ratios, members))
    return result


def _features(
    candidates: Candidates, training: training_lib.Training, weights: training_lib.Weights
) -> dict[tuple[str, str], np.ndarray]:
    """Every feature of every candidate in one model, by name and kind of images.

    In standard deviations of all candidates from their mean: models differ in how alike they
    find everything, and the attacker, who knows no bit, can say so.
    """
    serving = training.model.serving_model()
    for variable, value in zip(serving.backbone.trainable_variables, weights):
        variable.assign(value)

    def embedded(users: np.ndarray, part: int) -> list[np.ndarray]:
        rows = [candidates.rows(int(user))[part] for user in users]
        store = candidates.store
        together = inference.embed(serving, store.examples[np.concatenate(rows)])
        ends = np.cumsum([len(each) for each in rows])[:-1]
        return np.split(together.astype(np.float64), ends)

    reference = embedded(candidates.reference, 1)
    return {
        (name, images): _standardised(feature(users, reference))
        for part, images in enumerate((SEEN, OTHER))
        for users in [embedded(candidates.candidates, part)]
        for name, feature in features_lib.FEATURES.items()
    }


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = float(values.std())
    # A model that finds everybody alike tells nothing.
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)
