"""Names every layer that does not fit user-level differential privacy.

Only trainable weights are clipped, noised and released. State that a layer updates
by itself while it trains (moving statistics, codebooks, power iterations) depends on
all examples that passed through it and has no such bound; here it would be thrown
away after every virtual client, and the released model would not be the trained one.
Layers that draw random numbers of their own (dropout) are refused, too: a round must be
a function of the run's seed.
"""

import tensorflow as tf

_INSTEAD_OF_BATCH_NORM = (
    'its moving statistics mix the examples of all users;'
    ' use dp_fedemb.models.GroupNorm or tf.keras.layers.LayerNormalization'
)
_INSTEAD_OF_ADAPTED = (
    'its statistics come from adapt() on data;'
    ' give public constants: Normalization(mean=..., variance=...)'
)
_INSTEAD_OF_RANDOM = (
    'it draws random numbers that do not follow the seed of the run, so that a round'
    ' repeated after a crash would be another release with the same noise; leave it out,'
    ' or draw with tf.random.stateless_uniform from what depends on the input alone'
)
_INSTEAD_OF_STATE = (
    'it keeps state ({}) that no gradient trains;'
    ' remove it, or freeze the layer after training it on public data'
)


def leaf_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The layers of a model and of the models nested in it, each once, in order."""
    found: list[tf.keras.layers.Layer] = []
    for layer in model.layers:
        for leaf in leaf_layers(layer) if isinstance(layer, tf.keras.Model) else [layer]:
            if not any(leaf is known for known in found):
                found.append(leaf)
    return found


def unfit_layers(model: tf.keras.Model) -> dict[str, str]:
    """Returns the name of every unfit layer -> why, and what to use instead.

    A weight is state if it was created as `trainable=False`. Frozen layers fit: Keras
    runs a frozen `BatchNormalization` on its stored statistics and leaves them alone.
    """
    reasons, of_layers = {}, []
    for layer in leaf_layers(model):
        of_layers += layer.weights
        if any(hasattr(part, '_random_generator') for part in (layer, *layer.submodules)):
            reasons[layer.name] = _INSTEAD_OF_RANDOM
        state = _state(layer) if layer.trainable else []
        if not state:
            continue
        if _contains(layer, tf.keras.layers.BatchNormalization):
            reasons[layer.name] = _INSTEAD_OF_BATCH_NORM
        elif _contains(layer, tf.keras.layers.Normalization):
            reasons[layer.name] = _INSTEAD_OF_ADAPTED
        else:
            reasons[layer.name] = _INSTEAD_OF_STATE.format(', '.join(w.name for w in state))
    # A subclassed model may hold state outside of its layers.
    own = [w for w in _state(model) if not any(w is other for other in of_layers)]
    if own:
        reasons[model.name] = _INSTEAD_OF_STATE.format(', '.join(w.name for w in own))
    return reasons


def _state(layer: tf.keras.layers.Layer) -> list[tf.Variable]:
    return [weight for weight in layer.non_trainable_weights if not weight.trainable]


def _contains(layer: tf.keras.layers.Layer, kind: type) -> bool:
    return any(isinstance(part, kind) for part in (layer, *layer.submodules))


def check(model: tf.keras.Model, taken: tf.TensorSpec, output_dim: int) -> None:
    """Raises ValueError unless a model can be trained as a backbone.

    Args:
        model: maps batches of examples, preprocessed, to [n, output_dim].
        taken: type [None, ...] of the batches that it will get.
        output_dim: size of its output.
    """
    if not model.inputs:
        # Subclassed models get their weights here.
        model(tf.keras.Input(taken.shape[1:], dtype=taken.dtype))
    reasons = unfit_layers(model)
    if reasons:
        listed = '; '.join(f'{name}: {reason}' for name, reason in reasons.items())
        raise ValueError(f'layers unfit for user-level differential privacy: {listed}')
    if not model.trainable_variables:
        raise ValueError(f'{model.name}: no trainable weights are left; freeze fewer layers')
    if model.inputs and not taken.shape.is_compatible_with(model.input_shape):
        raise ValueError(
            f'{model.name} takes examples {model.input_shape}: the data, preprocessed,'
            f' are {tuple(taken.shape)}'
        )
    if tuple(model.output_shape) != (None, output_dim):
        raise ValueError(
            f'{model.name} returns {model.output_shape}: expected (None, {output_dim})'
        )
