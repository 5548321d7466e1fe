"""Trainings of an audit: the real engine and the real private run, and nothing saved.

Every round is what `runs.program` releases, without its directory: cohort, heads, clip,
exact sum, noise and server come from the same objects.
"""

import collections
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.models import embedding_model
from dp_fedemb.runs import candidates
from dp_fedemb.runs import engine_choice
from dp_fedemb.runs import settings as settings_lib

Weights = list[np.ndarray]
# As `engine_choice.engine`.
Engine = Callable[..., contextlib.AbstractContextManager[engine_lib.Engine]]


@dataclasses.dataclass(frozen=True)
class Training:
    """How an audit trains.

    Attributes:
        model: backbone and head.
        settings: of the run: local steps, server, engine.
        public: public users, where updates are clipped around theirs.
        engine: builds the engine; another one to plant faults or canaries.
    """

    model: embedding_model.EmbeddingModel
    settings: settings_lib.Settings
    public: Optional[store_lib.UserStore] = None
    engine: Engine = engine_choice.engine

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
        rounds = run.plan.rounds
        schedule = dataclasses.replace(self.settings.schedule, rounds=rounds)
        settings = dataclasses.replace(self.settings, schedule=schedule)
        query = engine_choice.query(settings, run, self.model.record_specs())
        begin = self.model.initial_weights(run.weights_seed)
        yield list(begin[0])
        with self.engine(settings, run.plan, self.model, query, store, self.public) as engine:
            state = engine.set_model_weights(
                engine.initialize(), tff.learning.models.ModelWeights(*begin)
            )
            state = engine.send(state)
            for round_num in range(rounds):
                shards = virtual_clients.assemble(store, run, round_num, engine.num_shards)

                def committed(total: Any, number: int = round_num) -> int:
                    return 0 if commit is None else commit(number, total)

                state = engine.next(state, shards, committed).state
                models = candidates.of_state(engine.fetch(state))
                # With an average, that is what a run without a validation part releases.
                released = models.get(candidates.AVERAGE, models[candidates.LAST])
                yield [np.asarray(weight) for weight in released[0]]

    def last_release(self, run: privacy.PrivateRun, store: store_lib.UserStore) -> Weights:
        """Returns the weights after the last round."""
        return collections.deque(self.releases(run, store), maxlen=1)[0]
