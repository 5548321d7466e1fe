"""The update of public data from a round's weights, for `aggregation.centred`."""

from typing import Any

import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb import validate
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.learning import client_config
from dp_fedemb.learning import shard_work
from dp_fedemb.models import embedding_model


class PublicCentre:
    """Fine-tunes virtual clients of public users and averages their updates."""

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        config: client_config.ClientConfig,
        store: store_lib.UserStore,
        *,
        clients: int,
        users_per_virtual_client: int,
        rounds: int,
        seed: int,
    ) -> None:
        """Creates one set of model variables.

        Args:
            model: what is trained.
            config: how it is fine-tuned locally, as private virtual clients are.
            store: public users.
            clients: virtual clients of a round, so many in expectation.
            users_per_virtual_client: users merged into one.
            rounds: of the run.
            seed: of cohorts, heads and orders.

        Raises:
            ValueError: if the store has fewer users than a round needs.
        """
        validate.positive(centre_clients=clients)
        if clients * users_per_virtual_client > store.num_users:
            raise ValueError(
                f'centre_clients={clients}: expected at most'
                f' {store.num_users // users_per_virtual_client}, for each has'
                f' {users_per_virtual_client} of the {store.num_users} public users; lower it'
            )
        plan = privacy.PrivacyPlan(
            num_users=store.num_users,
            virtual_clients_per_round=clients,
            users_per_virtual_client=users_per_virtual_client,
            rounds=rounds,
            mechanism=privacy.NoPrivacy(),
        )
        self._run = privacy.PrivateRun(plan, seed)
        self._store = store
        work = shard_work.ShardWork(model, config, shard_work.SumOnlyQuery())
        reader = virtual_clients.build_reader(store)
        self._function = tf.function(
            lambda weights, rate, shard: work.run(weights, (), rate, reader(shard)),
            reduce_retracing=True,
        )

    def __call__(self, weights: Any, rate: tf.Tensor, round_num: int) -> list[tf.Tensor]:
        """Returns the mean update, tensors as the trainable weights; zeros if not finite.

        Args:
            weights: `ModelWeights` of the round.
            rate: float32 scalar, the backbone's learning rate in the round.
            round_num: from 0.
        """
        shards = virtual_clients.assemble(self._store, self._run, round_num, 1)
        shard = {name: tf.convert_to_tensor(value) for name, value in shards[0].items()}
        count = max(len(shards[0]['seeds']), 1)
        total, _ = self._function(weights, rate, shard)
        mean = [part / count for part in tf.nest.flatten(total)]
        finite = bool(tf.math.is_finite(tf.linalg.global_norm(mean)))
        return mean if finite else [tf.zeros_like(part) for part in mean]
