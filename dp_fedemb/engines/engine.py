"""What every engine offers: rounds of DP-FedEmb, wherever the shards run."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow_federated as tff

# One shard, tensors of `virtual_clients.SHARD_SPEC`.
Descriptor = Mapping[str, np.ndarray]
State = tff.learning.templates.LearningAlgorithmState
Output = tff.learning.templates.LearningProcessOutput


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

    def next(self, state: State, shards: Sequence[Descriptor]) -> Output:
        """Runs one round.

        Args:
            state: as any of the other methods returns it, or the round before.
            shards: `num_shards` descriptors.

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
