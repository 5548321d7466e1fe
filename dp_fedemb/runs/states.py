"""States of a run as arrays: to checkpoints, and back to an engine."""

from typing import Any

import numpy as np
import tensorflow as tf

from dp_fedemb.runs import checkpoints

# States up to this many numbers become durable after every round, larger ones where rounds
# are released.
_EVERY_ROUND_ENTRIES = 4 << 20


def arrays(state: Any) -> list[np.ndarray]:
    """Returns the leaves of a state, in the order of a checkpoint."""
    return [np.asarray(leaf) for leaf in tf.nest.flatten(state)]


def restored(template: Any, saved: checkpoints.Checkpoint) -> Any:
    """Returns the state of a checkpoint, its leaves of the types that an engine has.

    Args:
        template: a state of that engine.
        saved: the checkpoint.

    Raises:
        ValueError: for one of another model, optimizer or mechanism.
    """
    expected = tf.nest.flatten(template)
    if [np.shape(leaf) for leaf in expected] != [array.shape for array in saved.arrays]:
        raise ValueError(
            f'the checkpoint of round {saved.round_num} holds a state of other shapes than this'
            ' model, optimizer and mechanism have; choose another output_dir'
        )
    leaves = []
    for like, array in zip(expected, saved.arrays):
        if isinstance(like, (int, float)):
            # What TFF's optimizers begin with; as an array it would be a float64 to TF.
            leaves.append(array.item())
        else:
            leaves.append(array.astype(np.asarray(like).dtype, casting='same_kind'))
    return tf.nest.pack_sequence_as(template, leaves)


def is_small(state: Any) -> bool:
    """Whether a state is written after every round."""
    entries = sum(int(np.prod(np.shape(leaf))) for leaf in tf.nest.flatten(state))
    return entries <= _EVERY_ROUND_ENTRIES
