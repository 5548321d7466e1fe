"""Trainings of an audit: the real engine and the real private run, and nothing saved.

Every round is what `runs.program` releases, without its directory: cohort, heads, clip,
exact sum and noise come from the same objects.
"""

import collections
from collections.abc import Callable, Iterator
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config
from dp_fedemb.models import embedding_model

Weights = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Training:
    """How an audit trains.

    Attributes:
        model: backbone and head.
        client: local fine-tuning.
        server_lr: of the server's SGD.
        server_momentum: of the server's SGD.
        num_shards: virtual clients trained at the same time.
        engine: builds the engine; another one to plant faults or canaries.
    """

    model: embedding_model.EmbeddingModel
    client: client_config.ClientConfig
    server_lr: float = 1.0
    server_momentum: float = 0.0
    num_shards: int = 1
    engine: Callable[..., in_process.InProcessEngine] = in_process.InProcessEngine

    def releases(
        self,
        run: privacy.PrivateRun,
        store: store_lib.UserStore,
        commit: Optional[Callable[[int, Any], int]] = None,
    ) -> Iterator[Weights]:
        """Yields the trained weights before the first round and after each.

        Args:
            run: plan and seed; all planned rounds are run.
            store: the training users, as many as the plan says.
            commit: gets the round and its exact sum before the noise is drawn, and
                returns the attempt.

        Raises:
            ValueError: for a plan of another number of users.
        """
        if run.plan.num_users != store.num_users:
            raise ValueError(
                f'a plan of {run.plan.num_users} users for a store of {store.num_users}:'
                ' expected the same'
            )
        engine = self.engine(
            self.model,
            self.client,
            reader=virtual_clients.build_reader(store),
            num_shards=self.num_shards,
            query=aggregation.build_query(run, self.model.record_specs()),
            server_optimizer=tff.learning.optimizers.build_sgdm(
                self.server_lr, self.server_momentum
            ),
        )
        begin = self.model.initial_weights(run.weights_seed)
        state = engine.set_model_weights(
            engine.initialize(), tff.learning.models.ModelWeights(*begin)
        )
        yield list(begin[0])
        for round_num in range(run.plan.rounds):
            shards = virtual_clients.assemble(store, run, round_num, self.num_shards)

            def committed(total: Any, number: int = round_num) -> int:
                return 0 if commit is None else commit(number, total)

            state = engine.next(state, shards, committed).state
            yield [np.asarray(weight) for weight in state.global_model_weights.trainable]

    def last_release(self, run: privacy.PrivateRun, store: store_lib.UserStore) -> Weights:
        """Returns the weights after the last round."""
        return collections.deque(self.releases(run, store), maxlen=1)[0]
