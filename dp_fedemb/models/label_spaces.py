"""Label spaces of a head that all users share, as DP-FedAvg has one.

The shape of whatever is released must not depend on private data. A head with a row for
every identity of the training users does: its size tells how many there are, and one
new identity changes everybody's softmax, and with it everybody's update.
"""

import abc
from collections.abc import Sequence
import dataclasses
import hashlib

import numpy as np

from dp_fedemb import validate


class LabelSpace(abc.ABC):
    """Gives identities, known by name, their labels 0..size-1.

    Attributes:
        size: number of labels.
        public: whether size and labels are the same whatever users there are. Only
            then does an epsilon of the clipped sums cover the run.
    """

    size: int
    public = True

    @abc.abstractmethod
    def labels(self, identity_names: Sequence[str]) -> np.ndarray:
        """Returns int32 [n], the label of each identity."""


@dataclasses.dataclass(frozen=True)
class HashBuckets(LabelSpace):
    """A public number of buckets; an identity's is a hash of its own name alone.

    Identities that share a bucket are taken for one.
    """

    size: int

    def __post_init__(self) -> None:
        validate.positive(label_buckets=self.size)

    def labels(self, identity_names: Sequence[str]) -> np.ndarray:
        hashes = (
            int.from_bytes(
                hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()[:8], 'big'
            )
            for name in identity_names
        )
        return np.array([number % self.size for number in hashes], np.int32)


@dataclasses.dataclass(frozen=True)
class PublicList(LabelSpace):
    """The identities that a public list names, in its order."""

    names: tuple[str, ...]
    size: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'names', tuple(self.names))
        object.__setattr__(self, 'size', len(self.names))
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(
                f'names: {len(self.names)} of them, {len(set(self.names))} different:'
                ' expected at least one and no repeats'
            )

    def labels(self, identity_names: Sequence[str]) -> np.ndarray:
        """Returns the labels.

        Raises:
            ValueError: naming an identity that is not on the list.
        """
        position = {name: label for label, name in enumerate(self.names)}
        unknown = [name for name in identity_names if name not in position]
        if unknown:
            raise ValueError(
                f'{len(unknown)} identities are not on the public list of {self.size}, the'
                f' first {unknown[0]!r}; drop them, or use hash buckets'
            )
        return np.array([position[name] for name in identity_names], np.int32)


@dataclasses.dataclass(frozen=True)
class AllIdentities(LabelSpace):
    """A label for every identity of the training users: without a guarantee only."""

    size: int
    public = False

    def __post_init__(self) -> None:
        validate.positive(num_identities=self.size)

    def labels(self, identity_names: Sequence[str]) -> np.ndarray:
        return np.arange(len(identity_names), dtype=np.int32)
