"""Verification pairs as insightface publishes them: CFP-FP, AgeDB-30, CALFW and others.

A `.bin` file is a pickle of (encoded images, is_same): two images for each pair, in
order, and for each pair whether both show one person. Accuracy is that of ten folds of
consecutive pairs (Deng et al. 2019, ArcFace, arXiv 1801.07698, as in its code).

A pickle can run any program. This reader runs none: the names that such a file may ask
for stand for small classes of ours, which keep bytes and truth values and do nothing.
"""

from collections.abc import Sequence
import dataclasses
import os
import pathlib
import pickle
from typing import Any, Union

import numpy as np

from dp_fedemb import host_error
from dp_fedemb.evaluation import pair_protocol

FOLDS = 10


@dataclasses.dataclass(frozen=True)
class FaceBin:
    """The content of a file.

    Attributes:
        images: encoded pictures, 2 p of them.
        same: bool [p], whether images 2 i and 2 i + 1 show one person.
    """

    images: Sequence[bytes]
    same: np.ndarray

    def pairs(self) -> pair_protocol.VerificationPairs:
        """Returns the protocol: rows are places in `images`, folds are consecutive pairs.

        Raises:
            ValueError: for fewer pairs than folds.
        """
        count = len(self.same)
        if count < FOLDS:
            raise ValueError(f'{count} pairs: expected at least {FOLDS}, one for each fold')
        # As scikit-learn's KFold without shuffling: the first folds take what is left over.
        sizes = np.full(FOLDS, count // FOLDS)
        sizes[: count % FOLDS] += 1
        first = 2 * np.arange(count)
        folds = np.repeat(np.arange(FOLDS), sizes)
        return pair_protocol.VerificationPairs(first, first + 1, self.same, folds)


def read(path: Union[str, 'os.PathLike[str]']) -> FaceBin:
    """Reads a file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, of another form, or asks for anything else than bytes,
            arrays of bytes and truth values.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; expected a .bin of insightface')
    try:
        with open(path, 'rb') as file:
            return _checked(_Unpickler(file, encoding='bytes').load())
    # Damaged pickles raise nearly anything.
    except Exception as error:
        if host_error.of_the_host(error):
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f'{path}: no .bin of insightface ({reason})') from None


def _checked(found: Any) -> FaceBin:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise ValueError('expected a pair of lists: images, and whether each two are the same')
    images, same = found
    if not isinstance(images, (tuple, list)) or not isinstance(same, (tuple, list, _Array)):
        raise ValueError('expected two lists')
    truths = [bool(b) for b in same.content] if isinstance(same, _Array) else list(same)
    contents = [image.content if isinstance(image, _Array) else image for image in images]
    if not all(isinstance(content, bytes) for content in contents):
        raise ValueError('an image is not encoded as bytes')
    if not all(isinstance(truth, (bool, int, _Scalar)) for truth in truths):
        raise ValueError('whether a pair is the same is no truth value')
    if len(contents) != 2 * len(truths):
        raise ValueError(f'{len(contents)} images for {len(truths)} pairs: expected two each')
    return FaceBin(contents, np.array([bool(truth) for truth in truths], bool))


class _Type:
    """In place of numpy.dtype: one byte an element, or nothing."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = name.decode('ascii') if isinstance(name, bytes) else name
        if name not in ('u1', '|u1', 'b1', '|b1'):
            raise ValueError(f'an array of type {name!r}: expected bytes (u1) or truths (b1)')

    def __setstate__(self, state: Any) -> None:
        """Nothing: byte order does not matter for bytes."""


class _Array:
    """In place of numpy.ndarray: its bytes."""

    def __init__(self, *_: Any) -> None:
        self.content = b''

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, _, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes) or len(shape) != 1:
            raise ValueError('an array that is no row of bytes')
        self.content = content


class _Scalar:
    """In place of a numpy.bool_."""

    def __init__(self, kind: _Type, content: bytes) -> None:
        if not isinstance(kind, _Type) or not isinstance(content, bytes) or len(content) != 1:
            raise ValueError('a number that is no truth value')
        self._true = content != b'\0'

    def __bool__(self) -> bool:
        return self._true


def _from_buffer(content: Any, kind: Any, shape: Any, _: Any = None) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, False, bytes(content)))
    return array


def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    """Bytes as Python 3 writes them for Python 2."""
    if not isinstance(text, str) or encoding not in ('latin1', b'latin1'):
        raise ValueError('a text that stands for no bytes')
    return text.encode('latin1')


_ALLOWED = {
    ('numpy', 'dtype'): _Type,
    ('numpy', 'ndarray'): _Array,
    ('_codecs', 'encode'): _encode,
    **{
        (f'numpy.{core}.{module}', name): stand_in
        for core in ('core', '_core')
        for module, name, stand_in in (
            ('multiarray', '_reconstruct', _Array),
            ('multiarray', 'scalar', _Scalar),
            ('numeric', '_frombuffer', _from_buffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name.

        Raises:
            UnpicklingError: for any other.
        """
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}, which is refused')
        return _ALLOWED[module, name]
