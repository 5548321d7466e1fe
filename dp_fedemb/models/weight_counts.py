"""How many weights a backbone has, and how many of them are noised."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class WeightCounts:
    """Counts of scalar weights.

    Attributes:
        trainable: weights that clients train. Each is one coordinate of the update
            that is clipped, and each is noised.
        frozen: weights that stay as they are.
    """

    trainable: int
    frozen: int

    @property
    def total(self) -> int:
        """All weights of the backbone."""
        return self.trainable + self.frozen

    @property
    def noised(self) -> int:
        """Coordinates that a mechanism with noise adds noise to."""
        return self.trainable

    def __str__(self) -> str:
        return (
            f'{self.total:,} weights: {self.trainable:,} trained and noised,'
            f' {self.frozen:,} frozen'
        )


def count(model: tf.keras.Model) -> WeightCounts:
    """Counts the weights of a Keras model."""
    size = lambda variables: sum(variable.shape.num_elements() for variable in variables)
    return WeightCounts(size(model.trainable_variables), size(model.non_trainable_variables))
