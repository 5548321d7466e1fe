"""What one example is: a fixed shape and a fixed element type."""

from collections.abc import Sequence
import dataclasses
from typing import Any, Union

import numpy as np

# Types of fixed size that a packed file and TensorFlow agree on.
DTYPES = (
    'uint8',
    'int8',
    'uint16',
    'int16',
    'int32',
    'int64',
    'float16',
    'float32',
    'float64',
)


@dataclasses.dataclass(frozen=True)
class ExampleSpec:
    """Shape and type that all examples of a store, or of a model's input, share.

    Attributes:
        shape: of one example, for instance (H, W, C) of an image or (T, D) of a series.
        dtype: of its elements, one of `DTYPES`.

    Raises:
        ValueError: for a size below 1 or an unknown type.
    """

    shape: tuple[int, ...]
    dtype: str = 'uint8'

    def __post_init__(self) -> None:
        object.__setattr__(self, 'shape', tuple(int(size) for size in self.shape))
        object.__setattr__(self, 'dtype', np.dtype(self.dtype).name)
        if any(size < 1 for size in self.shape):
            raise ValueError(f'shape={self.shape}: expected sizes of at least 1')
        if self.dtype not in DTYPES:
            raise ValueError(f'dtype={self.dtype!r}: expected one of {", ".join(DTYPES)}')

    @classmethod
    def of(cls, spec: 'SpecLike') -> 'ExampleSpec':
        """Returns the spec itself, or for a bare shape that of uint8 examples (images)."""
        return spec if isinstance(spec, ExampleSpec) else cls(tuple(spec))

    @property
    def num_bytes(self) -> int:
        """Bytes of one example."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def is_image(self) -> bool:
        """Whether it can be shown as a picture: uint8 (H, W, 1) or (H, W, 3)."""
        return self.dtype == 'uint8' and len(self.shape) == 3 and self.shape[-1] in (1, 3)

    def check(self, examples: np.ndarray, what: str = 'examples') -> None:
        """Raises ValueError unless `examples` is an array [n, *shape] of the type.

        Args:
            examples: to be looked at.
            what: it is called in the message.
        """
        if examples.dtype != self.dtype or examples.shape[1:] != self.shape:
            sizes = ', '.join(['n', *map(str, self.shape)])
            raise ValueError(
                f'{what}: {examples.dtype}{list(examples.shape)}, expected'
                f' {self.dtype}[{sizes}]'
            )

    def taken(self, examples: Any) -> np.ndarray:
        """Returns examples [n, *shape] in the spec's type.

        Of uint8 examples, floats within 0..1 are levels as a share of 255, as most programs
        hold pictures.

        Raises:
            ValueError: for examples whose meaning is not certain.
        """
        examples = np.asarray(examples)
        if self.dtype == 'uint8' and examples.dtype.kind == 'f':
            if not np.all((examples >= 0) & (examples <= 1)):
                raise ValueError(
                    f'examples of {examples.dtype} beyond 0..1: expected uint8 in 0..255, or'
                    ' floats in 0..1'
                )
            examples = np.rint(examples * 255).astype(np.uint8)
        self.check(examples)
        return examples

    def __str__(self) -> str:
        sizes = 'x'.join(map(str, self.shape)) or 'scalar'
        return sizes if self.dtype == 'uint8' else f'{sizes} {self.dtype}'


SpecLike = Union[ExampleSpec, Sequence[int]]
