"""Any TFDS data set as users: by a feature of the example, or by a function of it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional, Union

from dp_fedemb.data.images import conversion

# A feature's name ('label', or 'writer/id' inside a nested feature), or a function
# of the whole example: NumPy values, images still encoded.
Key = Union[str, Callable[[Mapping[str, Any]], Any]]

_BATCH = 256


def key_function(key: Key, features: Optional[Any] = None) -> Callable[[Mapping], str]:
    """Returns the function from an example to a user's or identity's name.

    Args:
        key: feature or function.
        features: `builder.info.features`; class labels are then given by name.

    Raises:
        ValueError: for a feature that the data set lacks.
    """
    if callable(key):
        return lambda example: _text(key(example))
    value = _getter(key)
    feature = _feature(key, features) if features is not None else None
    if getattr(feature, 'names', None):
        return lambda example: feature.int2str(int(value(example)))
    return lambda example: _text(value(example))


def read(builder: Any, split: str, image: str = 'image') -> Iterator[Mapping[str, Any]]:
    """Reads a split of a prepared data set in its fixed order.

    Images come as they are stored, encoded: decoding them is left to all cores, and
    costs nothing where only names are asked for.

    Args:
        builder: a `tfds.core.DatasetBuilder`.
        split: name of the split.
        image: the feature with the pixels.

    Yields:
        Examples as (nested) dicts of NumPy values.

    Raises:
        ValueError: for a split or feature that the data set lacks.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    decoders = None
    if isinstance(_feature(image, builder.info.features), tfds.features.Image):
        decoders = tfds.decode.SkipDecoding()
        nested = [image] if image in builder.info.features else image.split('/')
        for name in reversed(nested):
            decoders = {name: decoders}
    dataset = builder.as_dataset(split=split, decoders=decoders)
    specs = tf.nest.flatten(dataset.element_spec)
    # Starting TF once for many examples is ten times faster; examples of varying
    # shape must come one by one.
    if not all(isinstance(s, tf.TensorSpec) and s.shape.is_fully_defined() for s in specs):
        yield from dataset.as_numpy_iterator()
        return
    for batch in dataset.batch(_BATCH).as_numpy_iterator():
        columns = tf.nest.flatten(batch)
        for row in zip(*columns):
            yield tf.nest.pack_sequence_as(batch, row)


def examples(
    rows: Any,
    user: Key,
    identity: Key,
    part: Callable[[str, str], Optional[str]],
    image: str = 'image',
    features: Optional[Any] = None,
    name: Union[str, Callable[[Mapping[str, Any]], str]] = 'example',
) -> Iterator[conversion.Example]:
    """Turns TFDS examples into examples for `conversion.convert`.

    Args:
        rows: what `read` yields, or any iterable of mappings of NumPy values, images
            encoded or uint8 arrays.
        user: names the owner.
        identity: names what the image shows.
        part: (user, identity) -> the store it belongs to, or None to leave it out.
        image: the feature with the pixels.
        features: `builder.info.features`, to give class labels by name.
        name: of an image, a function of its example; or text, followed by the number
            of the row.

    Yields:
        Examples in the order of the rows.
    """
    user_of, identity_of = key_function(user, features), key_function(identity, features)
    image_of = _getter(image)
    for index, row in enumerate(rows):
        names = user_of(row), identity_of(row)
        chosen = part(*names)
        if chosen is not None:
            called = name(row) if callable(name) else f'{name} {index}'
            yield conversion.Example(chosen, *names, image_of(row), called)


def _feature(key: str, features: Any) -> Any:
    for part in [key] if key in features else key.split('/'):
        if not hasattr(features, 'keys') or part not in features:
            listed = ', '.join(sorted(features)) if hasattr(features, 'keys') else 'no parts'
            raise ValueError(f'feature {key!r}: the data set has {listed}, not {part!r}')
        features = features[part]
    return features


def _getter(key: str) -> Callable[[Any], Any]:
    path = key.split('/')

    def value(example: Any) -> Any:
        # Some data sets have slashes in the names of plain features.
        for part in [key] if key in example else path:
            if part not in example:
                listed = ', '.join(sorted(example))
                raise ValueError(f'feature {key!r}: the example has {listed}')
            example = example[part]
        return example

    return value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors='surrogateescape')
    return str(value)
