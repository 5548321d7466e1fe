"""What a round costs does not depend on its number: not time, memory, files nor threads."""

import collections
import contextlib
import ctypes
import gc
import os
import pathlib
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.runs import experiment as experiment_lib
from dp_fedemb.runs import settings as settings_lib

USERS = 200
WINDOW = 100
FLOWS = ('written', 'accountant')
KB_OF_PAGE = os.sysconf('SC_PAGE_SIZE') // 1024


class Meter:
    """Readings at the begin of every round, in memory that is taken at once."""

    def __init__(self):
        self.readings = collections.defaultdict(lambda: np.zeros(5000))
        self.accountant = 0.0
        self._count = 0
        self._trimming = 0.0

    def read(self):
        if self._count % WINDOW == WINDOW // 2:
            # What was freed and is kept for later is no growth; how much it is comes and goes.
            begin = time.process_time()
            ctypes.CDLL(None).malloc_trim(0)
            self._trimming += time.process_time() - begin
        status = pathlib.Path('/proc/self/io').read_text()
        pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
        for name, value in (
            ('cpu', time.process_time() - self.accountant - self._trimming),
            ('accountant', self.accountant),
            ('written', int(status.split('wchar: ')[1].split()[0])),
            ('rss', pages * KB_OF_PAGE),
            ('handles', len(os.listdir('/proc/self/fd'))),
            ('threads', threading.active_count()),
            ('children', len(children())),
        ):
            self.readings[name][self._count] = value
        self._count += 1

    def of(self, name, first):
        """Per round, over a window that begins with a round."""
        values = self.readings[name]
        return (values[first + WINDOW] - values[first]) / WINDOW

    def most(self, name, first):
        return self.readings[name][first : first + WINDOW].max()

    def least(self, name, first):
        """For what a moment may hold; a leak is held in every one."""
        return self.readings[name][first : first + WINDOW].min()

    def accounted(self, epsilon):
        """The function, with its time told apart."""

        def call(*arguments, **options):
            begin = time.thread_time()
            try:
                return epsilon(*arguments, **options)
            finally:
                self.accountant += time.thread_time() - begin

        return call


def children():
    path = pathlib.Path(f'/proc/self/task/{os.getpid()}/children')
    return path.read_text().split()


@contextlib.contextmanager
def metered(monkeypatch, experiment_class):
    """Reads before each round of every engine that an experiment of the class makes."""
    meter = Meter()
    original = experiment_class._engine

    @contextlib.contextmanager
    def engine_of(self, *arguments):
        with original(self, *arguments) as engine:
            compute = engine.next

            def following(*of_round):
                meter.read()
                return compute(*of_round)

            engine.next = following
            yield engine

    with monkeypatch.context() as patched:
        patched.setattr(experiment_class, '_engine', engine_of)
        epsilon = meter.accounted(privacy.PrivacyPlan.epsilon)
        patched.setattr(privacy.PrivacyPlan, 'epsilon', epsilon)
        yield meter


@pytest.fixture(scope='module')
def many_users(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('many') / 'train'
    with data.UserStoreWriter(path, (4, 4, 1)) as writer:
        for user in range(USERS):
            images = generator.integers(0, 256, (1 + user % 5, 4, 4, 1), np.uint8)
            writer.add_user(images, [user] * len(images))
    return data.UserStore.open(path)


def settings(rounds, engine='in_process'):
    schedule = settings_lib.TrainingSchedule(rounds, 50, 50)
    return settings_lib.Settings(client_config.ClientConfig(), schedule, engine=engine)


def plan(rounds, sampling):
    return privacy.PrivacyPlan(
        num_users=USERS,
        virtual_clients_per_round=4,
        users_per_virtual_client=2,
        rounds=rounds,
        mechanism=privacy.Gaussian(1.0, 1.0),
        sampling=sampling,
    )


@pytest.mark.parametrize('sampling', [privacy.Poisson(), privacy.MinSeparation()])
def test_a_later_round_does_as_much_as_an_early_one(
    make_experiment, many_users, tmp_path, monkeypatch, sampling
):
    """Counts calls, which no other load on the machine changes."""
    rounds = 350
    experiment = make_experiment(
        plan=plan(rounds, sampling), settings=settings(rounds), train=many_users
    )
    calls = [0]

    def count(frame, event, argument):
        # How many steps the accountant takes depends on the rounds a little, either way.
        calls[0] += event == 'call' and 'accounting' not in frame.f_code.co_filename

    counted = []
    with metered(monkeypatch, type(experiment)) as meter:
        read = meter.read

        def read_calls():
            counted.append(calls[0])
            read()

        meter.read = read_calls
        gc.collect()
        sys.setprofile(count)
        try:
            experiment.run(tmp_path / 'run')
        finally:
            sys.setprofile(None)
    first, last = (counted[n + WINDOW] - counted[n] for n in (25, rounds - WINDOW - 25))
    # One entry more or less in the ledger, which is told ever more rarely.
    assert last < 1.2 * first, (first, last)
    early, late = (meter.of('written', n) for n in (25, rounds - WINDOW - 25))
    assert late < 1.2 * early, (early, late)
    for name, slack in (('rss', 8192), ('handles', 0), ('threads', 0), ('children', 0)):
        assert meter.least(name, rounds - WINDOW) <= meter.most(name, 25) + slack, name


class Cycle:
    """What only a full collection finds."""

    def __init__(self):
        self.itself = self


def test_what_a_release_leaves_behind_is_given_back(
    make_experiment, many_users, tmp_path, monkeypatch
):
    rounds = 6
    experiment = make_experiment(
        plan=plan(rounds, privacy.Poisson()),
        settings=settings_lib.Settings(
            client_config.ClientConfig(), settings_lib.TrainingSchedule(rounds, 1, 1)
        ),
        train=many_users,
    )
    left, counts = weakref.WeakSet(), []
    evaluator = experiment_lib.evaluator_lib.Evaluator
    save = evaluator.save

    def leaving(*arguments):
        left.add(Cycle())
        counts.append(len(left))
        return save(*arguments)

    monkeypatch.setattr(evaluator, 'save', leaving)
    frozen = gc.get_freeze_count()
    # Collections that come by themselves come late where there is much else.
    gc.disable()
    try:
        experiment.run(tmp_path / 'run')
    finally:
        gc.enable()
    assert len(counts) == rounds + 1 and max(counts) <= 2, counts
    assert gc.get_freeze_count() == frozen


def tiny_model():
    import tensorflow as tf

    def build():
        images = tf.keras.Input((4, 4, 1))
        flat = tf.keras.layers.Flatten()(images)
        return tf.keras.Model(images, tf.keras.layers.Dense(3)(flat))

    return models.EmbeddingModel(build, (4, 4, 1), 3, models.HEADS['linear']())


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('engine', ['in_process', 'tff'])
def test_2500_rounds(many_users, tmp_path, monkeypatch, engine):
    rounds = 2500
    experiment = experiment_lib.Experiment(
        tiny_model(),
        plan(rounds, privacy.Poisson()),
        settings(rounds, engine),
        many_users,
        None,
    )
    with metered(monkeypatch, experiment_lib.Experiment) as meter:
        experiment.run(tmp_path / 'run')
    # When its working memory has been used once by all that a round may do.
    early, late = 125, rounds - WINDOW - 25
    figures = {name: (meter.of(name, early), meter.of(name, late)) for name in FLOWS}
    # The least of five windows each: other programs on the machine only add to it.
    figures['cpu'] = tuple(
        min(meter.of('cpu', n) for n in range(first, first + 5 * WINDOW, WINDOW))
        for first in (early, late - 4 * WINDOW)
    )
    figures['rss'] = meter.least('rss', early), meter.least('rss', rounds - WINDOW)
    for name in ('handles', 'threads', 'children'):
        figures[name] = meter.most(name, early), meter.least(name, rounds - WINDOW)
    print(engine, figures)
    for name, slack in (('cpu', 1.05), ('written', 1.2), ('rss', 1.02), ('handles', 1.0)):
        assert figures[name][1] <= slack * figures[name][0], (name, figures)
    # Where rounds are released it composes all of them: a longer transform, not more of them.
    assert figures['accountant'][1] <= 3 * figures['accountant'][0], figures
    for name in ('threads', 'children'):
        assert figures[name][1] <= figures[name][0], (name, figures)
