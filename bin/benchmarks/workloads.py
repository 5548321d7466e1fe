"""Stores of random images, whole training rounds, and the plain loop they compare with."""

import atexit
from concurrent import futures
import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import tff_engine as engine_lib
from dp_fedemb.learning import client_config
from dp_fedemb.models import embedding_model

SEED = 1


def random_store(
    num_users: int,
    images_per_user: int,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    identities_per_user: int = 1,
    num_identities: int | None = None,
) -> data.UserStore:
    """Users with random images; the work does not depend on what they show.

    Args:
        num_users: users.
        images_per_user: of each.
        image_shape: (H, W, C).
        identities_per_user: of each.
        num_identities: in the population; fewer than there are means that users share
            them.
    """
    generator = np.random.default_rng(0)
    path = pathlib.Path(tempfile.mkdtemp(prefix='benchmark_')) / 'store'
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    count = num_identities or num_users * identities_per_user
    local = np.arange(images_per_user) % identities_per_user
    with data.UserStoreWriter(path, image_shape) as writer:
        for user in range(num_users):
            shape = (images_per_user, *image_shape)
            names = (user * identities_per_user + local) % count
            writer.add_user(generator.integers(0, 256, shape, np.uint8), names)
    return data.UserStore.open(path)


def build_plan(
    store: data.UserStore, m: int, k: int, sampling: privacy.Sampling = privacy.Poisson()
) -> privacy.PrivacyPlan:
    """A plan with clip and noise."""
    return privacy.PrivacyPlan(
        num_users=store.num_users,
        virtual_clients_per_round=m,
        users_per_virtual_client=k,
        rounds=1000,
        mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=0.5),
        sampling=sampling,
    )


def build_engine(model, config, plan, store, local_runtime) -> engine_lib.TffEngine:
    """The engine that bin/train.py uses on a CPU; needs an entered `LocalRuntime`."""
    return engine_lib.TffEngine(
        local_runtime,
        model,
        config,
        query=aggregation.build_query(privacy.PrivateRun(plan, SEED), model.record_specs()),
        server_optimizer=tff.learning.optimizers.build_sgdm(1.0, 0.9),
        reader=virtual_clients.build_reader(store),
    )


class Rounds:
    """Whole training rounds as the training program runs them, the cohort prefetched."""

    def __init__(self, engine, plan, store, model):
        self._engine = engine
        self._run = privacy.PrivateRun(plan, SEED)
        self._store = store
        self._pool = futures.ThreadPoolExecutor(1)
        self._round = 0
        state = engine.initialize()
        weights = tff.learning.models.ModelWeights(*model.initial_weights(SEED))
        self._state = engine.set_model_weights(state, weights)
        self._upcoming = self._pool.submit(self._shards, 0)

    def _shards(self, round_num):
        return virtual_clients.assemble(
            self._store, self._run, round_num, self._engine.num_shards
        )

    def __call__(self) -> int:
        """Runs one round; returns its examples."""
        shards = self._upcoming.result()
        self._round += 1
        self._upcoming = self._pool.submit(self._shards, self._round)
        self._state = self._engine.next(self._state, shards).state
        return virtual_clients.num_examples(shards)


def rounds(
    model, store, m, k, local_runtime, sampling: privacy.Sampling = privacy.Poisson()
) -> Rounds:
    """Rounds of m virtual clients with k users each."""
    plan = build_plan(store, m, k, sampling)
    engine = build_engine(model, config(), plan, store, local_runtime)
    return Rounds(engine, plan, store, model)


class PlainLoop:
    """The limit: plain TensorFlow steps, one single-threaded client per core.

    No rounds, no clients, no aggregation, no data pipeline: batches are gathered from
    images in memory, and updates are fused. The process must have one intra-op thread.
    """

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        num_identities: int,
        num_clients: int,
        batch_size: int = 32,
    ):
        self._clients = [
            _PlainClient(model, num_identities, batch_size) for _ in range(num_clients)
        ]
        self._pool = futures.ThreadPoolExecutor(num_clients)

    def __call__(self, examples: int) -> int:
        """Trains on about that many examples; returns how many it were."""
        share = examples // len(self._clients)
        return sum(self._pool.map(lambda client: client.train(share), self._clients))


class _PlainClient:
    def __init__(self, model, num_identities, batch_size):
        self._batch_size = batch_size
        self._head = model.head
        self._preprocess = model.preprocess
        self._backbone = model.build_local_backbone()
        self._head_weights = [
            tf.Variable(weight)
            for weight in model.head.initial_weights(
                model.embedding_dim, tf.constant(num_identities), tf.constant([1, 2], tf.int64)
            )
        ]
        generator = np.random.default_rng(0)
        shape = (1024, *model.example_spec.shape)
        self._images = tf.constant(generator.integers(0, 256, shape, np.uint8))
        self._labels = tf.constant(generator.integers(0, num_identities, 1024, np.int32))
        self._steps = tf.function(self._run)

    def train(self, examples: int) -> int:
        steps = max(1, round(examples / self._batch_size))
        self._steps(tf.constant(steps))
        return steps * self._batch_size

    def _run(self, steps):
        for step in tf.range(steps):
            first = (step * self._batch_size) % (1024 - self._batch_size)
            batch = tf.range(first, first + self._batch_size)
            images = self._preprocess(tf.gather(self._images, batch))
            weights = [*self._backbone.trainable_variables, *self._head_weights]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                embeddings = tf.cast(self._backbone(images, training=True), tf.float32)
                loss = self._head.loss(
                    [tf.convert_to_tensor(w) for w in self._head_weights],
                    embeddings,
                    tf.gather(self._labels, batch),
                )
            for weight, gradient in zip(weights, tape.gradient(loss, weights)):
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=weight.handle, alpha=1e-3, delta=gradient
                )


def lenet(precision: str = 'float32') -> embedding_model.EmbeddingModel:
    """The paper's EMNIST backbone."""
    return models.build_embedding_model('lenet', (28, 28, 1), 128, precision=precision)


def config(**changes) -> client_config.ClientConfig:
    """Local fine-tuning with small rates, so that random images do not diverge."""
    return client_config.ClientConfig(**{'learning_rate': 1e-3, 'batch_size': 32, **changes})
