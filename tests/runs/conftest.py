"""Experiments without TensorFlow's steps: everything else of a run is the real thing."""

import contextlib
import dataclasses
import pathlib
import types

import numpy as np
import pytest
import tensorflow_federated as tff

from dp_fedemb import data
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.learning import client_config
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import experiment as experiment_lib
from dp_fedemb.runs import settings as settings_lib

ROUNDS = 3
USERS = 12
# A seed that nobody finds by trying.
SEED = 2**100 + 7


class FakeModel:
    """A backbone of three weights."""

    public_labels = True

    def initial_weights(self, seed):
        return [randomness.generator(seed, 'weights').normal(size=3).astype(np.float32)], []

    def start(self, backbone, seed):
        return backbone

    def released(self, weights):
        return weights

    def record_specs(self):
        return []

    def identity_labels(self, names):
        return None


class FakeEvaluator:
    """Its model is the weights' bytes, its recall a function of them."""

    def __init__(self, model, store):
        self.serving_model = self

    def set_weights(self, trainable, non_trainable):
        self._weights = np.asarray(trainable[0])

    def save(self, path, preprocessing=None):
        (pathlib.Path(path) / 'variables').mkdir()
        (pathlib.Path(path) / 'variables' / 'data').write_bytes(self._weights.tobytes())
        (pathlib.Path(path) / 'saved_model.pb').write_bytes(b'graph')

    def __call__(self, trainable, non_trainable):
        self.set_weights(trainable, non_trainable)
        return {'recall@FAR=0.001': float(np.abs(self._weights).sum())}

    def in_full(self, trainable, non_trainable, about):
        return self(trainable, non_trainable), {}


class FakeEngine:
    """Sums rows of the cohort, commits the sum, and noises it by the run's key.

    `other_sum` is added to every sum, as another processor might.
    """

    num_shards = 1

    def __init__(self, run, other_sum=0):
        self._run = run
        self._other_sum = other_sum
        self.attempts = []

    def initialize(self):
        return tff.learning.templates.LearningAlgorithmState(
            tff.learning.models.ModelWeights([np.zeros(3, np.float32)], []),
            (),
            np.array(0, np.int32),
            (),
            (),
        )

    def set_model_weights(self, state, weights):
        return tff.learning.templates.LearningAlgorithmState(
            weights, (), state.client_work, (), ()
        )

    def send(self, state):
        return state

    def fetch(self, state):
        return state

    def next(self, state, shards, commit=None):
        round_num = int(state.client_work)
        old = np.asarray(state.global_model_weights.trainable[0])
        rows = np.concatenate([shard['rows'] for shard in shards])
        total = np.bincount(rows % 3, minlength=3) + self._other_sum
        attempt = commit([total])
        self.attempts.append(attempt)
        key = int.from_bytes(self._run.noise_key(round_num, attempt), 'little')
        noise = randomness.generator(key, 'fake').normal(size=3)
        new = (old + total + noise).astype(np.float32)
        weights = tff.learning.models.ModelWeights([new], [])
        state = tff.learning.templates.LearningAlgorithmState(
            weights, (), state.client_work + 1, (), ()
        )
        return tff.learning.templates.LearningProcessOutput(state, {'finalizer': {}})


@dataclasses.dataclass(frozen=True)
class FakeExperiment(experiment_lib.Experiment):
    """An experiment on a `FakeEngine`."""

    engines: list = dataclasses.field(default_factory=list)
    other_sum: int = 0

    def config(self):
        return {'plan': self.plan.to_json(), **self.facts}

    def absent(self):
        return {}

    @contextlib.contextmanager
    def _engine(self, model, query):
        self.engines.append(FakeEngine(query.run, self.other_sum))
        yield self.engines[-1]


@pytest.fixture(scope='session')
def users(tmp_path_factory):
    """A store of twelve users."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('users') / 'train'
    with data.UserStoreWriter(path, (4, 4, 1)) as writer:
        for user in range(USERS):
            images = generator.integers(0, 256, (3, 4, 4, 1), np.uint8)
            writer.add_user(images, [user] * 3)
    return data.UserStore.open(path)


@pytest.fixture
def make_experiment(users, monkeypatch):
    """Function from changes to a `FakeExperiment`."""
    monkeypatch.setattr(experiment_lib.evaluator_lib, 'Evaluator', FakeEvaluator)
    monkeypatch.setattr(
        experiment_lib.engine_choice.aggregation,
        'build_query',
        lambda run, specs: types.SimpleNamespace(
            run=run,
            noise=types.SimpleNamespace(generator='a generator of tests'),
            statistical_distance=lambda releases: releases * 1e-9,
        ),
    )

    def build(**changes):
        plan = privacy.PrivacyPlan(
            num_users=USERS,
            virtual_clients_per_round=2,
            users_per_virtual_client=2,
            rounds=ROUNDS,
            mechanism=privacy.Gaussian(clip_norm=1.0, noise_multiplier=0.5),
        )
        schedule = settings_lib.TrainingSchedule(
            ROUNDS, rounds_per_eval=2, rounds_per_checkpoint=2
        )
        arguments = {
            'model': FakeModel(),
            'plan': plan,
            'settings': settings_lib.Settings(
                client_config.ClientConfig(), schedule, engine='in_process'
            ),
            'train': users,
            'test': types.SimpleNamespace(),
        }
        return FakeExperiment(**{**arguments, **changes})

    yield build
    # Of users whom all tests share.
    for name in (ledger.LEDGER, ledger.HEAD):
        (users.path / name).unlink(missing_ok=True)


@pytest.fixture(scope='session')
def tree():
    """Function from a directory to every file below it, with contents and permissions."""

    def files_below(root):
        return {
            str(path.relative_to(root)): (path.read_bytes(), oct(path.stat().st_mode))
            for path in sorted(root.rglob('*'))
            if path.is_file()
        }

    return files_below
