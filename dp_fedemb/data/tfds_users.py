"""Any TFDS data set as users: by a feature of the example, or by a function of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Optional, Union

from dp_fedemb.data import conversion

# A feature's name ('label', or 'writer/id' inside a nested feature), or a function
# of the whole example as NumPy values.
Key = Union[str, Callable[[Mapping[str, Any]], Any]]


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
    path = key.split('/')
    feature = features
    for part in path if features is not None else ():
        if part not in feature:
            raise ValueError(f'feature {key!r}: the data set has {", ".join(feature)}')
        feature = feature[part]
    names = getattr(feature, 'int2str', None) if getattr(feature, 'names', None) else None

    def value(example):
        for part in path:
            if part not in example:
                raise ValueError(f'feature {key!r}: the example has {", ".join(example)}')
            example = example[part]
        return names(int(example)) if names else _text(example)

    return value


def keys(
    dataset: Any, user: Key, identity: Key, image: str = 'image', features: Any = None
) -> list[tuple[str, str]]:
    """Returns (user, identity) of each example, in order.

    Make `dataset` with `decoders={image: tfds.decode.SkipDecoding()}` when neither
    key looks at pixels: then this takes a small part of the time of decoding.
    """
    user, identity = key_function(user, features), key_function(identity, features)
    return [(user(example), identity(example)) for example in _as_numpy(dataset)]


def examples(
    dataset: Any,
    user: Key,
    identity: Key,
    part: Callable[[str, str], Optional[str]],
    image: str = 'image',
    features: Any = None,
) -> Iterator[conversion.Example]:
    """Turns TFDS examples into examples for `conversion.convert`.

    Args:
        dataset: what `tfds.load` returns for one split, or any iterable of mappings
            of NumPy values.
        user: names the owner.
        identity: names what the image shows.
        part: (user, identity) -> the store it belongs to, or None to leave it out.
        image: the feature with the pixels, decoded or (with `SkipDecoding`) encoded.
        features: `builder.info.features`, to give class labels by name.

    Yields:
        Examples in the order of the data set.
    """
    user_of, identity_of = key_function(user, features), key_function(identity, features)
    for index, example in enumerate(_as_numpy(dataset)):
        names = user_of(example), identity_of(example)
        chosen = part(*names)
        if chosen is not None:
            yield conversion.Example(chosen, *names, example[image], f'example {index}')


def _as_numpy(dataset) -> Iterable[Mapping[str, Any]]:
    if hasattr(dataset, 'as_numpy_iterator'):
        return dataset.as_numpy_iterator()
    return dataset


def _text(value):
    if isinstance(value, bytes):
        return value.decode(errors='surrogateescape')
    return str(value)
