"""What every engine offers: rounds of DP-FedEmb, wherever the shards run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Protocol

import numpy as np
import tensorflow_federated as tff

# The exact sum, int64 arrays in units of the mechanism's grid -> attempt.
Commit = Callable[[Sequence[np.ndarray]], int]
# One shard, tensors of `virtual_clients.SHARD_SPEC`.
Descriptor = Mapping[str, np.ndarray]
# `tff.learning.templates.LearningAlgorithmState` and `LearningProcessOutput`: TFF has no types.
State = Any
Output = Any


class Engine(Protocol):
    """Runs rounds; `server_rounds.ServerRounds` implements all but the shards.

    Attributes:
        num_shards: shards of every round, private data or not.
    """

    num_shards: int

    def initialize(self) -> State:
        """Returns the state before the first round, with fresh weights."""
        ...

    def set_model_weights(
        self, state: State, weights: tff.learning.models.ModelWeights
    ) -> State:
        """Returns the state with other weights of the backbone."""
        ...

    def send(self, state: State) -> State:
        """Returns the state where rounds want it, for a series of rounds from it."""
        ...

    def next(
        self, state: State, shards: Sequence[Descriptor], commit: Optional[Commit] = None
    ) -> Output:
        """Runs one round.

        Args:
            state: as any of the other methods returns it, or the round before.
            shards: `num_shards` descriptors.
            commit: called with the exact sum of the clipped records before any noise is
                drawn. What it returns is the attempt, which names the noise: 0, or
                another number for a round that was computed before with another sum.

        Returns:
            The state after the round, and its metrics.

        Raises:
            ValueError: for another number of shards.
            RuntimeError: if a worker is gone and nobody can do its work.
        """
        ...

    def fetch(self, state: State) -> Any:
        """Returns the state where it can be read and saved."""
        ...
