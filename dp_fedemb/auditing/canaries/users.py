"""Canary users: people with odd images, trained like anybody else.

The realistic variant: nothing of the training is touched. A canary's images are cut into
two groups, each called one identity though its images have nothing in common, so that
only a model that was trained on this very user finds those of a group alike. A fair coin
decides whether the user has these images or others of the same kind (the neighbouring
relation: its data are replaced by any others).
"""

from collections.abc import Callable
import dataclasses
import pathlib

import numpy as np
from numpy import typing as npt

from dp_fedemb.auditing import training as training_lib
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import store_writer
from dp_fedemb.evaluation import inference

Array = npt.NDArray[np.float64]
# Images of a canary: two groups of two.
_IMAGES = 4
_LABELS = ('a', 'a', 'b', 'b')


def mislabelled(store: store_lib.UserStore, generator: np.random.Generator) -> np.ndarray:
    """Images of random users of the store, none of them the canary's own."""
    return np.asarray(store.examples[np.sort(generator.choice(store.num_examples, _IMAGES))])


def unique(store: store_lib.UserStore, generator: np.random.Generator) -> np.ndarray:
    """Images of pure noise, which nobody else has."""
    shape = (_IMAGES, *store.example_spec.shape)
    if np.dtype(store.example_spec.dtype) == np.uint8:
        return generator.integers(0, 256, shape, np.uint8)
    return generator.standard_normal(shape).astype(store.example_spec.dtype)


# Name -> images of one canary.
KINDS: dict[str, Callable[[store_lib.UserStore, np.random.Generator], np.ndarray]] = {
    'mislabelled': mislabelled,
    'unique': unique,
}


@dataclasses.dataclass(frozen=True, eq=False)
class CanaryUsers:
    """Canary users and their bits.

    Attributes:
        images: [canaries, 4, *shape], those of bit 1.
        bits: bool [canaries].
    """

    images: np.ndarray
    bits: npt.NDArray[np.bool_]

    @classmethod
    def write(
        cls,
        store: store_lib.UserStore,
        path: pathlib.Path,
        kind: str,
        count: int,
        most_users: int,
        generator: np.random.Generator,
    ) -> 'tuple[CanaryUsers, store_lib.UserStore]':
        """Writes a store of real users and canaries.

        Args:
            store: the real users.
            path: of the new store.
            kind: one of `KINDS`.
            count: of canaries.
            most_users: real users, the first of the store.
            generator: of images and bits.
        """
        images = np.array([KINDS[kind](store, generator) for _ in range(count)])
        bits = generator.random(count) < 0.5
        with store_writer.UserStoreWriter(path, store.example_spec) as writer:
            for user in range(min(store.num_users, most_users)):
                rows = slice(*store.user_splits[user : user + 2])
                names = [store.identity_names[i] for i in store.identities[rows]]
                if names:
                    examples = np.asarray(store.examples[rows])
                    writer.add_user(examples, names, store.user_names[user])
            for index in range(count):
                own = images[index] if bits[index] else KINDS[kind](store, generator)
                labels = [f'canary {index} {label}' for label in _LABELS]
                writer.add_user(own, labels, f'canary {index}')
        return cls(images, bits), store_lib.UserStore.open(path)

    def scores(
        self,
        training: training_lib.Training,
        before: training_lib.Weights,
        after: training_lib.Weights,
    ) -> Array:
        """Returns by how much training drew each canary's groups together, and apart.

        Args:
            training: gives the model.
            before: weights that training began with.
            after: weights that are released.
        """
        return self._alike(training, after) - self._alike(training, before)

    def _alike(self, training: training_lib.Training, weights: training_lib.Weights) -> Array:
        serving = training.model.serving_model()
        for variable, value in zip(serving.backbone.trainable_variables, weights, strict=True):
            variable.assign(value)
        count = len(self.images)
        flat = self.images.reshape(count * _IMAGES, *self.images.shape[2:])
        found = inference.embed(serving, flat).astype(np.float64).reshape(count, _IMAGES, -1)
        similar = np.einsum('cid,cjd->cij', found, found)
        within = similar[:, 0, 1] + similar[:, 2, 3]
        across = similar[:, :2, 2:].mean(axis=(1, 2))
        return within - 2 * across
