"""The audit of a real run: honest ones pass, and what is wrong in one is named."""

import dataclasses
import pathlib
import re
import types

import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import privacy
from dp_fedemb.aggregation import correlated
from dp_fedemb.aggregation import correlated_noise
from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import gaussian
from dp_fedemb.aggregation import rounded_gaussian
from dp_fedemb.aggregation import sum_query
from dp_fedemb.auditing.rounds import audit as audit_lib
from dp_fedemb.auditing.rounds import release_checks
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.learning import server_optimizers
from dp_fedemb.learning import shard_work
from dp_fedemb.models import pretrained
from dp_fedemb.runs import candidates
from dp_fedemb.runs import experiment
from dp_fedemb.runs import journal
from dp_fedemb.runs import settings
from dp_fedemb.runs import starts

SEED = 2**200 + 11
GAUSSIAN = privacy.Gaussian(0.5, 1.5)
ORIGIN = pretrained.Origin('a private run', False, (privacy.Ancestor('faces', 1.5, 1e-6),))
BANDED = privacy.Banded(0.5, 1.5, strategy_momentum=0.9, bands=3)


def _printed(number):
    """Lines of the table of checks that a command of docs/audit.md prints."""
    text = (pathlib.Path(__file__).parents[2] / 'docs' / 'audit.md').read_text()
    tables = re.findall(r'\$ bin/audit\.py rounds .*\n([^`]+)```', text)
    return [line.strip() for line in tables[number].splitlines()[1:]]


@pytest.fixture(scope='module')
def experiment_of(people, training_setup):
    def build(mechanism=GAUSSIAN, **changes):
        sampling = privacy.Poisson()
        if not mechanism.independent_rounds:
            sampling = privacy.MinSeparation()
        plan = privacy.PrivacyPlan(people.num_users, 8, 2, 8, mechanism, sampling)
        client = dataclasses.replace(training_setup.settings.client, local_epochs=1)
        options = {'engine': 'in_process', 'client_parallelism': 1, **changes}
        if options.get('server_optimizer') == 'adam':
            options['server_lr'] = 0.01  # A step is of about the rate.
        start = options.pop('start', None)
        return experiment.Experiment(
            training_setup.model,
            plan,
            settings.Settings(client, settings.TrainingSchedule(8), **options),
            people,
            None,
            start=start
            and starts.Start(lambda: training_setup.model.initial_weights(5), start),
            public=people,
        )

    return build


@pytest.mark.parametrize(
    'mechanism, changes',
    [
        (
            GAUSSIAN,
            {'server_optimizer': 'adam', 'ema': 0.5, 'centre_clients': 2, 'start': ORIGIN},
        ),
        (BANDED, {'server_momentum': 0.9, 'engine': 'tff', 'client_parallelism': 2}),
        pytest.param(BANDED, {'server_optimizer': 'adam'}, marks=pytest.mark.soak),
        pytest.param(
            GAUSSIAN,
            {'algorithm': 'fedavg', 'label_buckets': 8, 'server_lr_schedule': 'linear'},
            marks=pytest.mark.soak,
        ),
        *(
            pytest.param(mechanism, {'ema': 0.9}, marks=pytest.mark.soak)
            for mechanism in (
                privacy.AdaptiveGaussian(0.5, 1.5, clipped_count_stddev=1.0),
                privacy.Tree(0.5, 1.5, restart_rounds=2, tree_completion=True),
                privacy.TreeAdaptive(0.5, 1.5, restart_rounds=2, clipped_count_stddev=1.0),
                privacy.Bisr(0.5, 1.5, strategy_momentum=0.9, draws=3),
                privacy.Blt(0.5, 1.5, strategy_momentum=0.9, buffers=2),
            )
        ),
    ],
    ids=lambda value: ' '.join(map(str, value)) if isinstance(value, dict) else value.name,
)
def test_honest_runs_pass(mechanism, changes, experiment_of):
    found = list(
        audit_lib.audit(
            experiment_of(mechanism, **changes), rounds=3, most_clients=12, seed=SEED
        )
    )
    assert [check.alarm for check in found if check.failed] == []
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    # One fewer where the head is aggregated or the noise of rounds is not known alone.
    assert len(names) >= 13
    # docs/audit.md prints those of two runs; of an average and a start this one has more.
    if 'algorithm' not in changes and mechanism in (GAUSSIAN, BANDED):
        printed = _printed(0 if mechanism == GAUSSIAN else 1)
        further = ('released average', 'what the start has seen')
        told = [name for name in names if not any(words in name for words in further)]
        assert len(printed) == len(told)
        assert [n for n, line in zip(told, printed) if not line.startswith(n)] == []
    if 'start' in changes:
        counted = next(check for check in found if 'what the start has seen' in check.name)
        assert 'with 1 before it' in counted.seen
    clipped = next(check for check in found if 'no virtual client adds more' in check.name)
    # It is no empty pass: clipped to the full norm.
    assert '12 were clipped' in clipped.seen and 'longest is 0.99' in clipped.seen


@pytest.mark.soak
def test_twenty_honest_runs_raise_no_alarm(experiment_of):
    for number in range(20):
        found = audit_lib.audit(
            experiment_of(server_momentum=0.5), most_clients=16, seed=SEED + 1000 * number
        )
        assert [check.alarm for check in found if check.failed] == []


# Planted faults, each with words of the check that is to fail.


def head_beside_the_update(monkeypatch):
    """What a head learned is added to the sum after the clip."""
    intact = shard_work.ShardWork._add

    def add(work, theta, params, rate, client, measured):
        measured = intact(work, theta, params, rate, client, measured)
        leaked = tf.cast(tf.size(client['labels']), tf.int64) * 2**20
        work._sums[-1].assign_add(tf.zeros_like(work._sums[-1]) + leaked)
        return measured

    monkeypatch.setattr(shard_work.ShardWork, '_add', add)


def head_within_the_update(monkeypatch):
    """What a head begins with is added to the update, before the clip."""
    intact = local_fine_tuning.LocalFineTuning.update

    def update(work, theta, client, learning_rate):
        delta, loss = intact(work, theta, client, learning_rate)
        head = work._start(theta, client['labels'], client['seed'])
        return [*delta[:-1], delta[-1] + 1e-3 * tf.reduce_mean(head[0])], loss

    monkeypatch.setattr(local_fine_tuning.LocalFineTuning, 'update', update)


def head_as_a_further_tensor(monkeypatch):
    intact = sum_query.ClippedSumQuery.initial_sample_state

    def initial(query, template):
        return [*intact(query, template), tf.zeros([32, 4], tf.int64)]

    monkeypatch.setattr(gaussian.GaussianSumQuery, 'initial_sample_state', initial)


def clip_skipped_for_one_in_a_hundred(monkeypatch):
    intact = fixed_point.Grid.clip
    count = tf.Variable(0, trainable=False)

    def clip(grid, record, clip_norm):
        clipped, norm = intact(grid, record, clip_norm)
        over = tf.cast(tf.math.ceil(norm / tf.cast(clip_norm, norm.dtype)), tf.int64)
        # Of random numbers a run of the tests has others, by what has drawn before.
        skipped = tf.equal(count.assign_add(1) % 100, 50)
        factor = tf.where(skipped, tf.maximum(over, 1), 1)
        return [leaf * factor for leaf in clipped], norm

    monkeypatch.setattr(fixed_point.Grid, 'clip', clip)


def clip_skipped_in_company(monkeypatch):
    """Only the second virtual client of a shard is not clipped, so never one alone."""
    intact = shard_work.ShardWork._add

    def add(work, theta, params, rate, client, measured):
        second = tf.equal(measured['virtual_clients'], 1.0)
        before = [tf.identity(part) for part in tf.nest.flatten(work._sums)]
        measured = intact(work, theta, params, rate, client, measured)
        for total, old in zip(tf.nest.flatten(work._sums), before):
            total.assign_add(tf.where(second, total - old, 0))
        return measured

    monkeypatch.setattr(shard_work.ShardWork, '_add', add)


def sensitivity_off_by_two(monkeypatch):
    intact = fixed_point.Grid.clip

    def clip(grid, record, clip_norm):
        clipped, norm = intact(grid, record, clip_norm)
        return [leaf * 2 for leaf in clipped], norm

    monkeypatch.setattr(fixed_point.Grid, 'clip', clip)


def unit_off_by_two(monkeypatch):
    """Sum and noise are right on the grid, but the grid is twice as coarse as the clip."""
    intact = fixed_point.Grid.to_float

    def to_float(grid, total, clip_norm):
        return [2 * leaf for leaf in intact(grid, total, clip_norm)]

    monkeypatch.setattr(fixed_point.Grid, 'to_float', to_float)


def _drawn(monkeypatch, change):
    intact = rounded_gaussian.draw
    monkeypatch.setattr(
        rounded_gaussian, 'draw', lambda key, stddev, size: change(intact, key, stddev, size)
    )


def noise_over_m(monkeypatch):
    _drawn(monkeypatch, lambda draw, key, stddev, size: draw(key, stddev / 8, size))


def noise_on_the_mean(monkeypatch):
    _drawn(monkeypatch, lambda draw, key, stddev, size: draw(key, stddev * 8, size))


def one_layer_without_noise(monkeypatch):
    def change(draw, key, stddev, size):
        drawn = draw(key, stddev, size)
        drawn[-32:] = 0
        return drawn

    _drawn(monkeypatch, change)


def noise_of_one_layer_in_another(monkeypatch):
    """The last layer's 8,192 numbers have noise that the first has, too."""

    def change(draw, key, stddev, size):
        drawn = draw(key, stddev, size)
        drawn[9472 : 9472 + 8192] = drawn[:8192]
        return drawn

    _drawn(monkeypatch, change)


def same_noise_in_two_rounds(monkeypatch):
    intact = privacy.PrivateRun.noise_key
    monkeypatch.setattr(
        privacy.PrivateRun, 'noise_key', lambda run, stream, *rest: intact(run, stream, 0)
    )


def public_key(monkeypatch):
    monkeypatch.setattr(
        privacy.PrivateRun,
        'noise_key',
        lambda run, *names: repr([int(n) for n in names]).encode().ljust(32)[:32],
    )


def noise_drawn_before_the_commit(monkeypatch):
    """The attempt that the journal hands out comes too late for the noise."""
    monkeypatch.setattr(
        sum_query.MeanQuery, 'with_attempt', lambda query, state, attempt: state
    )


def journal_that_notices_nothing(monkeypatch):
    monkeypatch.setattr(journal.Journal, 'attempt', lambda self, round_num, sums: 0)
    monkeypatch.setattr(journal.Journal, 'commit', lambda self, round_num, sums: 0)


def wrong_correlation(monkeypatch):
    """Correlated noise whose accountant was told of another strategy."""
    intact = correlated_noise.CorrelatedNoise.__init__

    def start(noise, strategy, *rest):
        intact(noise, strategy, *rest)
        noise._past_weights = [round(0.5 * each) for each in noise._past_weights]
        noise._draw_weights = (1.0,)

    monkeypatch.setattr(correlated_noise.CorrelatedNoise, '__init__', start)


def noise_that_is_written_over(monkeypatch):
    """A sum is added in place to what the mechanism keeps, as TensorFlow did at times."""
    intact = correlated.CorrelatedSumQuery.get_noised_result

    def get_noised_result(query, sample_state, global_state):
        result = intact(query, sample_state, global_state)

        def write(total):
            kept = query._made._recent[0]
            kept.flags.writeable = True
            kept[-total.size :] += total.ravel()
            return np.int64(0)

        tf.numpy_function(write, [tf.nest.flatten(sample_state)[-1]], tf.int64)
        return result

    monkeypatch.setattr(correlated.CorrelatedSumQuery, 'get_noised_result', get_noised_result)


def released_without_noise(monkeypatch):
    """The server's step has the noise, the published model has not."""
    intact = candidates.of_state

    def of_state(state):
        models = intact(state)
        for name, (weights, frozen) in models.items():
            models[name] = ([np.asarray(w) * 0.9 for w in weights], frozen)
        return models

    monkeypatch.setattr(candidates, 'of_state', of_state)


def average_of_something_else(monkeypatch):
    """The average is not that of the released weights: steps enter that were never taken."""
    intact = server_optimizers.Averaging.next

    def following(self, state, weights, gradients):
        state, new = intact(self, state, weights, gradients)
        state['average'] = tf.nest.map_structure(
            lambda average, gradient: average - 0.1 * gradient, state['average'], gradients
        )
        return state, new

    monkeypatch.setattr(server_optimizers.Averaging, 'next', following)


def seed_in_a_file(monkeypatch):
    """Something that is published tells the secret: here a file beside the model."""
    intact = experiment.Experiment._train

    def train(self, directory, run, *rest):
        scores = intact(self, directory, run, *rest)
        directory.write_text('notes.txt', f'seed {run.secret_seed}')
        return scores

    monkeypatch.setattr(experiment.Experiment, '_train', train)


def start_for_nothing(monkeypatch):
    """The statement says where the run began, and does not add what that has cost."""
    intact = experiment.Experiment._statement_facts

    def facts(run, *arguments):
        return {**intact(run, *arguments), 'ancestors': ()}

    monkeypatch.setattr(experiment.Experiment, '_statement_facts', facts)


FAULTS = [
    (head_beside_the_update, 'heads alone', {}),
    (clip_skipped_for_one_in_a_hundred, 'more than the clip norm', {'clients': 400}),
    (noise_drawn_before_the_commit, 'another sum', {}),
    (average_of_something_else, 'released average', {'ema': 0.5}),
    (noise_that_is_written_over, 'of all rounds together', {'mechanism': BANDED}),
]
SLOW_FAULTS = [
    (head_within_the_update, 'heads alone', {}),
    (clip_skipped_in_company, 'each alone', {}),
    (sensitivity_off_by_two, 'more than the clip norm', {}),
    (unit_off_by_two, 'more than the clip norm', {}),
    (noise_over_m, 'claimed size', {}),
    (noise_on_the_mean, 'claimed size', {}),
    (one_layer_without_noise, 'claimed size', {}),
    (noise_of_one_layer_in_another, 'noise of layers', {}),
    (same_noise_in_two_rounds, 'no two rounds', {}),
    (public_key, 'another secret seed', {}),
    (journal_that_notices_nothing, 'another sum', {}),
    (wrong_correlation, 'as the accountant was told', {'mechanism': BANDED}),
    (wrong_correlation, 'of all rounds together', {'mechanism': BANDED}),
    (
        noise_that_is_written_over,
        'of all rounds together',
        {'mechanism': BANDED, 'engine': 'tff', 'server_momentum': 0.9},
    ),
    (released_without_noise, 'model on the disk', {}),
    (seed_in_a_file, 'secret seed is in nothing', {}),
    (start_for_nothing, 'what the start has seen', {'start': ORIGIN}),
]


@pytest.mark.parametrize(
    'fault, found_by, changes',
    [
        *FAULTS,
        *(pytest.param(*each, marks=pytest.mark.soak) for each in SLOW_FAULTS),
    ],
    ids=[fault.__name__ for fault, _, _ in FAULTS + SLOW_FAULTS],
)
def test_planted_faults_are_named(fault, found_by, changes, experiment_of, monkeypatch):
    changes = dict(changes)
    clients = changes.pop('clients', 3)
    built = experiment_of(**changes)
    fault(monkeypatch)
    failed = []
    for check in audit_lib.audit(built, rounds=2, most_clients=clients, seed=SEED):
        failed += [check.name] if check.failed else []
        if any(found_by in name for name in failed):
            return
    raise AssertionError(f'{found_by!r} did not fail, but {failed}')


@pytest.mark.soak
def test_a_further_tensor_in_the_sum_ends_the_run(experiment_of, monkeypatch):
    """The server splits a sum into the backbone's weights, and there is nothing left to say."""
    built = experiment_of()
    head_as_a_further_tensor(monkeypatch)
    with pytest.raises(ValueError, match="can't split axis of size"):
        list(audit_lib.audit(built, rounds=2, most_clients=3, seed=SEED))


@pytest.mark.parametrize(
    'mechanism, options, match',
    [
        (privacy.NoPrivacy(), {}, 'mechanism=none'),
        (privacy.ClipOnly(1.0), {}, 'mechanism=clip_only'),
        (GAUSSIAN, {'rounds': 1}, 'watched_rounds=1'),
        (GAUSSIAN, {'rounds': 9}, 'at most rounds=8'),
    ],
)
def test_what_cannot_be_watched_is_refused(mechanism, options, match, experiment_of):
    with pytest.raises(ValueError, match=match):
        next(audit_lib.audit(experiment_of(mechanism), **options))


@pytest.mark.soak
def test_noise_below_the_weights_last_digit_is_refused(experiment_of):
    built = experiment_of(privacy.Gaussian(1e-6, 1.5))
    with pytest.raises(ValueError, match='steps of the float32 weights'):
        list(audit_lib.audit(built, rounds=2, most_clients=1, seed=SEED))


def test_a_round_without_anybody_is_the_same_release_again():
    """Nobody can stay away from it, so that its sum is no other one."""

    def computed(total, weight):
        model = types.SimpleNamespace(trainable=[np.array([weight])])
        after = types.SimpleNamespace(global_model_weights=model)
        return types.SimpleNamespace(total=[np.array(total)], after=after, attempt=0)

    empty = computed([0, 0], 0.5)
    assert release_checks.same_sum(empty, computed([0, 0], 0.5))
    assert not release_checks.same_sum(empty, computed([0, 1], 0.5))
    assert not release_checks.same_release(empty, computed([0, 0], 0.5)).failed
    assert release_checks.same_release(empty, computed([0, 0], 0.75)).failed
