"""Any TFDS data set as users: by a feature of the example, or by a function of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import files
from dp_fedemb import host_error
from dp_fedemb.data import names as names_lib
from dp_fedemb.data.images import conversion

# A feature's name ('label', or 'writer/id' inside a nested feature), or a function
# of the whole example: NumPy values, images still encoded.
Key = Union[str, Callable[[Mapping[str, Any]], Any]]

_BATCH = 256
# What tables are left with where a text is missing, in the spellings that no person has.
_MISSING = frozenset(('nan', 'NaN', 'NaT', '<NA>', 'N/A', 'n/a', 'None', 'null', 'NULL'))


class NoNameError(ValueError):
    """A value that names no single user or identity; the message says what it is."""


def key_function(key: Key, features: Optional[Any] = None) -> Callable[[Mapping], str]:
    """Returns the function from an example to a user's or identity's name.

    The function raises `NoNameError` for a value that names nobody: a missing or unknown label
    (-1), an empty text, NaN (or a text that says so), none or several values.

    Args:
        key: feature or function.
        features: `builder.info.features`; class labels are then given by name.

    Raises:
        ValueError: for a feature that the data set lacks, or of several values.
    """
    if callable(key):
        return lambda example: _name(key(example))
    value = _getter(key)
    feature = _feature(key, features) if features is not None else None
    _check_single(key, feature)
    labels = getattr(getattr(feature, 'feature', feature), 'names', None)
    return lambda example: _name(value(example), labels)


def check_feature(key: str, features: Any) -> None:
    """Raises ValueError for a feature that the data set lacks."""
    _feature(key, features)


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
    for path in sorted(pathlib.Path(builder.data_path).glob('*.tfrecord*')):
        try:
            check_records(path)
        except ValueError as error:
            raise ValueError(f'{path}: damaged ({error}); prepare the data set again') from None
    try:
        yield from _rows(builder.as_dataset(split=split, decoders=decoders))
    except (tf.errors.OpError, OSError) as error:
        if host_error.of_the_host(error):
            raise
        reason = ' '.join(str(error).split())[:300]
        raise ValueError(
            f'{builder.data_path}: damaged records ({reason}); prepare the data set again'
        ) from None


def check_records(path: files.PathLike) -> None:
    """Looks at the lengths in a TFRecord file, before TensorFlow does.

    It ends with a signal where one is near the largest number, and waits for pipes.

    Args:
        path: of the file.

    Raises:
        NoFileError: for a pipe, a device or a directory.
        ValueError: for a file that holds anything but whole records.
    """
    with files.open_file(path) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            # Length, its checksum, the record, its checksum.
            length = int.from_bytes(file.read(8), 'little')
            left -= 16 + length
            if not length or left < 0:
                raise ValueError(f'a record of {length:,} bytes')
            file.seek(length + 8, os.SEEK_CUR)


def _rows(dataset: Any) -> Iterator[Mapping[str, Any]]:
    import tensorflow as tf

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
        Examples in the order of the rows, without those whose user or identity has no name.
    """
    user_of, identity_of = key_function(user, features), key_function(identity, features)
    image_of = _getter(image)
    for index, row in enumerate(rows):
        try:
            names = user_of(row), identity_of(row)
        except NoNameError:
            continue
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


def _check_single(key: str, feature: Any) -> None:
    if hasattr(feature, 'keys'):
        parts = ', '.join(f'{key}/{part}' for part in sorted(feature))
        raise ValueError(f'feature {key!r}: has parts; expected one of {parts}')
    # Of a sequence, whose length is not known, each example is looked at.
    sizes = [size for size in getattr(feature, 'shape', None) or () if size is not None]
    if any(size > 1 for size in sizes) or len(sizes) > 1:
        raise ValueError(
            f'feature {key!r}: of shape {tuple(feature.shape)}; a user or identity needs one'
            ' value for each example: name another feature, or write a function'
        )


def _name(value: Any, labels: Optional[Sequence[str]] = None) -> str:
    if isinstance(value, (np.ndarray, list, tuple)):
        values = np.asarray(value, object).ravel()
        if len(values) != 1:
            raise NoNameError('several values' if len(values) else 'no value')
        (value,) = values
    if isinstance(value, bytes):
        value = value.decode(errors='surrogateescape')
    if value is None:
        raise NoNameError('no value')
    if isinstance(value, (float, np.floating)) and not np.isfinite(value):
        raise NoNameError('not a number')
    if labels is not None:
        if not 0 <= int(value) < len(labels):
            raise NoNameError('an unknown label')
        value = labels[int(value)]
    # What data sets write where they know no label.
    if not isinstance(value, str) and value == -1:
        raise NoNameError('an unknown label')
    if not isinstance(value, (str, bool, int, float, np.generic)):
        raise NoNameError(f'a {type(value).__name__}')
    text = names_lib.normal(value)
    if not text.strip():
        raise NoNameError('an empty text')
    if text in _MISSING:
        raise NoNameError(f'the text {text!r}, which stands for a missing value')
    return text
