"""A backbone's weights as NumPy arrays, in the order of the Keras model's lists."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Values of `trainable_variables` and of `non_trainable_variables` (the frozen ones).
WeightValues = tuple[list[np.ndarray], list[np.ndarray]]


def get(backbone: tf.keras.Model) -> WeightValues:
    """Returns copies of the present values."""
    return (
        [variable.numpy() for variable in backbone.trainable_variables],
        [variable.numpy() for variable in backbone.non_trainable_variables],
    )


def assign(backbone: tf.keras.Model, trainable: Sequence, non_trainable: Sequence) -> None:
    """Overwrites the values.

    Raises:
        ValueError: if the shapes are those of another backbone.
    """
    variables = [*backbone.trainable_variables, *backbone.non_trainable_variables]
    values = [*trainable, *non_trainable]
    wanted = [tuple(variable.shape) for variable in variables]
    given = [tuple(np.shape(value)) for value in values]
    if given != wanted or len(trainable) != len(backbone.trainable_variables):
        raise ValueError(
            f'weights of shapes {given}: expected {wanted}, those of backbone {backbone.name}'
        )
    for variable, value in zip(variables, values):
        variable.assign(value)


def name_of(variable: tf.Variable) -> str:
    """Returns layer/weight, the name under which a SavedModel keeps the value."""
    return variable.name.split(':')[0]
