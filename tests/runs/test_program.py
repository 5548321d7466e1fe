"""The training program: rows, releases, and runs that go on as if never interrupted."""

import collections
import csv
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.learning import client_config
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import program as program_lib
from dp_fedemb.runs import settings

SEED = 2**100 + 7
ROUNDS = 5


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('store') / 'train'
    with data.UserStoreWriter(path, (4, 4, 1)) as writer:
        for user in range(12):
            images = generator.integers(0, 256, (3, 4, 4, 1), np.uint8)
            writer.add_user(images, [user] * 3)
    return data.UserStore.open(path)


def model():
    def build():
        images = tf.keras.Input((4, 4, 1))
        flat = tf.keras.layers.Flatten()(images)
        return tf.keras.Model(images, tf.keras.layers.Dense(3)(flat))

    return models.EmbeddingModel(build, (4, 4, 1), 3, models.HEADS['linear']())


def make_plan(**changes):
    arguments = {
        'num_users': 12,
        'virtual_clients_per_round': 2,
        'users_per_virtual_client': 2,
        'rounds': ROUNDS,
        'mechanism': privacy.Gaussian(clip_norm=1.0, noise_multiplier=0.5),
    }
    return privacy.PrivacyPlan(**{**arguments, **changes})


class Interrupted(Exception):
    pass


@functools.cache
def engine_of(store, plan, seed, raw_metrics):
    # Engines hold no state of a run, so runs of the same plan and seed share one.
    return in_process.InProcessEngine(
        model(),
        client_config.ClientConfig(learning_rate=0.1),
        query=aggregation.build_query(privacy.PrivateRun(plan, seed), model().record_specs()),
        server_optimizer=tff.learning.optimizers.build_sgdm(1.0, 0.9),
        reader=virtual_clients.build_reader(store),
        raw_metrics=raw_metrics,
    )


class Stopping:
    """An engine that fails in one round, or in none."""

    def __init__(self, engine, stop_before):
        self.num_shards = engine.num_shards
        self.initialize = engine.initialize
        self.set_model_weights = engine.set_model_weights
        self.fetch = engine.fetch
        self._engine = engine
        self._stop_before = stop_before

    def send(self, state):
        return state

    def next(self, state, shards, commit=None):
        if int(state.client_work) == self._stop_before:
            raise Interrupted
        return self._engine.next(state, shards, commit)


def program(store, path, plan=None, seed=SEED, stop_before=None, raw_metrics=False, **options):
    """A program in `path`; with `stop_before`, its engine fails in that round."""
    plan = plan or make_plan()
    directory = directory_lib.RunDirectory(path)
    directory.begin({'plan': plan.to_json()})
    engine = Stopping(engine_of(store, plan, seed, raw_metrics), stop_before)

    def evaluate(trainable, non_trainable):
        del non_trainable
        return {'recall@FAR=0.001': float(np.abs(np.asarray(trainable[0])).sum())}

    def export(models, path):
        trainable, _ = models['last_iterate']
        with open(f'{path}/saved_model.pb', 'wb') as file:
            np.savez(file, *[np.asarray(weight) for weight in trainable])

    options.setdefault('record', {'seed': str(seed)})
    schedule = settings.TrainingSchedule(ROUNDS, rounds_per_eval=2, rounds_per_checkpoint=2)
    return (
        program_lib.TrainingProgram(
            engine,
            privacy.PrivateRun(plan, seed),
            store,
            schedule,
            directory,
            evaluate,
            export,
            **options,
        ),
        directory,
    )


def start():
    return tff.learning.models.ModelWeights(*model().initial_weights(1))


def trainable(models):
    return models['last_iterate'][0]


def rows(directory):
    with open(directory.metrics) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def uninterrupted(store, tmp_path_factory):
    run, directory = program(store, tmp_path_factory.mktemp('runs') / 'whole')
    return run.run(start()), directory


def test_a_row_for_each_round_and_an_epsilon_for_each_release(uninterrupted):
    _, directory = uninterrupted
    table = rows(directory)
    assert [int(row['round']) for row in table] == list(range(ROUNDS + 1))
    plan = make_plan()
    for row in table:
        done = int(row['round'])
        if done not in (0, 2, 4, 5):
            # Released together with the round that follows, under its epsilon.
            assert not row['epsilon_user'] and not row['epsilon_virtual_client']
            continue
        assert float(row['epsilon_user']) == privacy.rounded_up(plan.epsilon(done))
        expected = plan.epsilon(done, 'virtual_client')
        assert float(row['epsilon_virtual_client']) == privacy.rounded_up(expected)
    assert [bool(row['recall@FAR=0.001']) for row in table] == [1, 0, 1, 0, 1, 1]
    # Nothing that was computed from private data without noise.
    assert not {'loss', 'update_norm', 'virtual_clients'} & set(table[0])
    assert list(directory.tensorboard.iterdir())


def test_statement_and_model_are_of_the_last_round(uninterrupted):
    weights, directory = uninterrupted
    statement = json.loads((directory.path / 'privacy.json').read_text())
    assert statement['rounds_completed'] == ROUNDS
    assert statement['epsilon_user'] == privacy.rounded_up(make_plan().epsilon())
    assert 'PRIVACY STATEMENT' in (directory.path / 'privacy.txt').read_text()
    released = np.load(directory.saved_model / 'saved_model.pb')
    np.testing.assert_array_equal(released['arr_0'], trainable(weights)[0])


@pytest.mark.parametrize('stop_before', [1, 2, 3])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(
    store, tmp_path, uninterrupted, stop_before
):
    whole, whole_directory = uninterrupted
    run, directory = program(store, tmp_path / 'run', stop_before=stop_before)
    with pytest.raises(Interrupted):
        run.run(start())
    assert directory.checkpoints.rounds()[-1] == stop_before
    assert directory.checkpoints.load().record['seed'] == str(SEED)
    run, directory = program(store, tmp_path / 'run')
    # The start weights count only where there is no checkpoint.
    zeros = [np.zeros_like(weight) for weight in start().trainable]
    weights = run.run(tff.learning.models.ModelWeights(zeros, []), directory.checkpoints.load())
    for ours, theirs in zip(trainable(weights), trainable(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [row['recall@FAR=0.001'] for row in rows(directory)] == [
        row['recall@FAR=0.001'] for row in rows(whole_directory)
    ]


def test_another_seed_is_another_run(store, tmp_path, uninterrupted):
    weights = program(store, tmp_path / 'run', seed=8)[0].run(start())
    assert np.any(trainable(weights)[0] != trainable(uninterrupted[0])[0])


def test_the_secret_seed_is_in_the_checkpoints_alone(uninterrupted):
    _, directory = uninterrupted
    for path in directory.path.rglob('*'):
        if path.is_file() and 'checkpoints' not in path.parts:
            assert str(SEED).encode() not in path.read_bytes(), path


def test_raw_metrics_only_on_request_and_declared(store, tmp_path):
    run, directory = program(
        store, tmp_path / 'run', raw_metrics=True, statement_facts={'raw_metrics': True}
    )
    run.run(start())
    last = rows(directory)[-1]
    assert 0 < float(last['loss']) < 5 and float(last['update_norm']) > 0
    statement = directory.read_json('privacy.json')
    assert any('training metrics' in line for line in statement['not_covered'])


def test_a_run_without_noise_says_so(store, tmp_path):
    plan = make_plan(mechanism=privacy.NoPrivacy())
    run, directory = program(store, tmp_path / 'run', plan=plan)
    run.run(start())
    assert not [name for name in rows(directory)[-1] if 'epsilon' in name]
    assert directory.read_json('privacy.json')['epsilon_user'] is None
    assert 'NOT PRIVATE' in (directory.path / 'privacy.txt').read_text()


def test_a_simulated_deployment_is_never_the_run_itself(store, tmp_path):
    plan = make_plan(noise_cohort_size=8)
    run, directory = program(
        store, tmp_path / 'run', plan=plan, statement_facts={'noised_weights': 51}
    )
    run.run(start())
    row = rows(directory)[-1]
    assert 'epsilon_user' not in row
    assert float(row['deployment_epsilon_user']) == privacy.rounded_up(plan.epsilon())
    assert float(row['largest_signal_to_noise']) == pytest.approx(8 / (0.5 * 51**0.5))
    statement = directory.read_json('privacy.json')
    assert statement['epsilon_user'] is None and not statement['private']


def test_observed_participation_is_in_the_statement(store, tmp_path):
    plan = make_plan(sampling=privacy.MinSeparation())
    run, directory = program(store, tmp_path / 'run', plan=plan)
    run.run(start())
    participation = directory.read_json('privacy.json')['participation']
    assert participation['observed_min_separation'] == 3
    assert participation['observed_max_participations'] == 2


def test_plan_of_another_population(store, tmp_path):
    with pytest.raises(ValueError, match='plan.num_users=13: the store has 12'):
        program(store, tmp_path / 'run', plan=make_plan(num_users=13))


def test_labels_are_local_or_those_of_the_population(store, monkeypatch):
    cohort = privacy.Cohort((np.array([0, 1]), np.array([], np.int64), np.array([5])))
    run = privacy.PrivateRun(make_plan(), SEED)
    monkeypatch.setattr(privacy.PrivateRun, 'cohort', lambda run, round_num: cohort)
    shards = virtual_clients.assemble(store, run, 3, num_shards=2)
    assert virtual_clients.num_examples(shards) == 9
    labels = [
        part.tolist() for s in shards for part in np.split(s['labels'], s['splits'][1:-1])
    ]
    assert sorted(labels) == [[], [0, 0, 0], [0, 0, 0, 1, 1, 1]]
    of_identities = np.arange(store.num_identities, dtype=np.int32)
    shared = virtual_clients.assemble(store, run, 3, 2, of_identities)
    every = collections.Counter(np.concatenate([s['labels'] for s in shared]).tolist())
    assert every == {0: 3, 1: 3, 5: 3}


def test_a_profiled_run_prints_a_table_and_releases_the_same(
    store, uninterrupted, tmp_path, monkeypatch, capsys
):
    calls = []

    def profile_round(engine, state, assemble, store, path, others):
        calls.append(engine.next(state, assemble(), lambda sums: 0))
        others['checkpoint']()
        return {'whole round': 1.5, **dict.fromkeys(others, 0.0)}

    monkeypatch.setattr(program_lib.profiling, 'profile_round', profile_round)
    run, directory = program(store, tmp_path / 'run', profile=True)
    weights = run.run(start())
    assert len(calls) == 1
    printed = capsys.readouterr().out
    assert '1.5000 s' in printed and 'evaluation' in printed and 'export' in printed
    expected, whole = uninterrupted
    for ours, theirs in zip(trainable(weights), trainable(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert rows(directory) == rows(whole)
