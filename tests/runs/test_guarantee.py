"""Faults that would break a run's guarantee, each patched in once and noticed."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import privacy
from dp_fedemb.models import pretrained
from dp_fedemb.privacy import budget
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import candidates
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import program as program_lib
from dp_fedemb.runs import releases as releases_lib
from dp_fedemb.runs import starts

SEED, OTHER_SEED = 2**100 + 7, 2**100 + 8
ROUNDS = 3


class Killed(BaseException):
    """As a kill, but that it can be caught."""


def weights_of(path):
    return np.frombuffer((path / 'saved_model' / 'variables' / 'data').read_bytes(), np.float32)


def checks_of_draws(make_experiment, path):
    """Raises AssertionError unless rounds and seeds have noise and cohorts of their own."""
    draws = {}
    for name, seed in (('one', SEED), ('other', OTHER_SEED)):
        experiment = make_experiment()
        experiment.run(path / name, seed)
        run = privacy.PrivateRun(experiment.plan, seed)
        for round_num in range(ROUNDS):
            cohort = [users.tolist() for users in run.cohort(round_num).users]
            draws[seed, round_num] = (
                run.noise_key(round_num, 0),
                json.dumps(cohort),
                run.head_keys(round_num, 2).tobytes(),
            )
        draws[seed, 'weights'] = (weights_of(path / name).tobytes(),)
    for kind in range(3):
        each = [drawn[kind] for drawn in draws.values() if len(drawn) > kind]
        assert len(set(each)) == len(each), f'draws of kind {kind} repeat'


def test_seeds_and_rounds_have_draws_of_their_own(make_experiment, tmp_path):
    checks_of_draws(make_experiment, tmp_path)


def constant_noise(monkeypatch):
    monkeypatch.setattr(privacy.PrivateRun, 'noise_key', lambda self, *indices: b'k' * 32)


def the_same_cohort_every_round(monkeypatch):
    cohort = privacy.PrivateRun.cohort
    monkeypatch.setattr(privacy.PrivateRun, 'cohort', lambda self, round_num: cohort(self, 0))


def public_cohorts(monkeypatch):
    cohort = privacy.PrivateRun.cohort
    monkeypatch.setattr(
        privacy.PrivateRun,
        'cohort',
        lambda self, round_num: cohort(privacy.PrivateRun(self.plan, 1), round_num),
    )


def a_seed_of_16_bits(monkeypatch):
    init = privacy.PrivateRun.__init__
    monkeypatch.setattr(
        privacy.PrivateRun,
        '__init__',
        # Two seeds in 2**16 share it; these do.
        lambda self, plan, seed: init(self, plan, (seed >> 84) & 0xFFFF),
    )


@pytest.mark.parametrize(
    'fault',
    [constant_noise, the_same_cohort_every_round, public_cohorts, a_seed_of_16_bits],
)
def test_faults_of_draws_are_noticed(make_experiment, tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        checks_of_draws(make_experiment, tmp_path)


def test_the_systems_seeds_have_their_bits(system_seed):
    seeds = [system_seed() for _ in range(64)]
    assert len(set(seeds)) == 64 and max(seeds).bit_length() > 120


def test_the_replay_of_a_run_gets_its_released_weights(make_experiment, users, tmp_path):
    """Cohort, exact sum and noise again from the seed alone, as `FakeEngine` has them."""
    from dp_fedemb import randomness
    from dp_fedemb.data import virtual_clients

    experiment = make_experiment()
    experiment.run(tmp_path / 'run', SEED)
    run = privacy.PrivateRun(experiment.plan, SEED)
    weights = experiment.model.initial_weights(run.weights_seed)[0][0]
    for round_num in range(ROUNDS):
        (shard,) = virtual_clients.assemble(users, run, round_num, 1)
        total = np.bincount(shard['rows'] % 3, minlength=3)
        key = int.from_bytes(run.noise_key(round_num, 0), 'little')
        noise = randomness.generator(key, 'fake').normal(size=3)
        weights = (weights + total + noise).astype(np.float32)
    np.testing.assert_array_equal(weights_of(tmp_path / 'run'), weights)


def check_no_seed(path):
    """Raises AssertionError if a seed is in a file outside of the checkpoints."""
    for file in path.rglob('*'):
        if file.is_file() and 'checkpoints' not in file.parts:
            assert str(SEED).encode() not in file.read_bytes(), file


def test_no_seed_outside_of_the_checkpoints(make_experiment, users, tmp_path):
    make_experiment().run(tmp_path / 'run', SEED)
    check_no_seed(tmp_path / 'run')
    check_no_seed(users.path)
    assert str(SEED).encode() in b''.join(
        path.read_bytes() for path in (tmp_path / 'run' / 'checkpoints').iterdir()
    )
    # The fault.
    make_experiment(facts={'seed': SEED}).run(tmp_path / 'faulty', SEED)
    with pytest.raises(AssertionError, match='config.json'):
        check_no_seed(tmp_path / 'faulty')


@pytest.mark.parametrize('mechanism', ['gaussian', 'none'])
def test_a_start_that_saw_users_without_privacy(make_experiment, mechanism):
    start = starts.Start(lambda: None, pretrained.Origin('NOT PRIVATE', voids_guarantee=True))
    plan = make_experiment().plan
    if mechanism == 'none':
        without = dataclasses.replace(plan, mechanism=privacy.NoPrivacy())
        assert make_experiment(plan=without, start=start)
    else:
        with pytest.raises(ValueError, match='start: NOT PRIVATE'):
            make_experiment(start=start)


def started_from(make_experiment, path, ancestors, seed=None):
    origin = pretrained.Origin('a private run', False, tuple(ancestors))
    start = starts.Start(lambda: ([np.ones(3, np.float32)], []), origin)
    make_experiment(start=start).run(path, seed)
    return json.loads((path / 'privacy.json').read_text())


def test_all_ancestors_are_in_the_sum(make_experiment, tmp_path):
    first = started_from(make_experiment, tmp_path / 'first', [])
    assert first['private'] and first['epsilon_user_total'] == first['epsilon_user']
    origin = pretrained.read_origin(tmp_path / 'first')
    second = started_from(make_experiment, tmp_path / 'second', origin.ancestors)
    origin = pretrained.read_origin(tmp_path / 'second')
    third = started_from(make_experiment, tmp_path / 'third', origin.ancestors)
    assert len(third['ancestors']) == 2 and third['private']
    assert third['epsilon_user_total'] == pytest.approx(3 * first['epsilon_user'], rel=1e-6)
    assert second['epsilon_user_total'] == pytest.approx(2 * first['epsilon_user'], rel=1e-6)


def test_what_nobody_states_is_no_better_after_a_hop(make_experiment, tmp_path):
    make_experiment().run(tmp_path / 'first')
    (tmp_path / 'first' / 'privacy.json').unlink()
    origin = pretrained.read_origin(tmp_path / 'first')
    second = started_from(make_experiment, tmp_path / 'second', origin.ancestors)
    assert not second['private'] and second['private_by_itself']
    origin = pretrained.read_origin(tmp_path / 'second')
    third = started_from(make_experiment, tmp_path / 'third', origin.ancestors)
    assert not third['private']
    start = starts.Start(lambda: None, origin)
    with pytest.raises(ValueError, match='no sum can be stated'):
        make_experiment(start=start, require_private=True)


def test_a_seed_that_can_be_found_is_not_private(make_experiment, tmp_path):
    make_experiment().run(tmp_path / 'run', 7)
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert not statement['private'] and statement['weak_seed']
    assert 'NOT PRIVATE' in (tmp_path / 'run' / 'privacy.txt').read_text()
    with pytest.raises(ValueError, match='found by trying'):
        make_experiment(require_private=True).run(tmp_path / 'other', 7)
    assert not (tmp_path / 'other').exists()


def check_nothing_ahead(make_experiment, path, monkeypatch):
    """Kills a run wherever a checkpoint, a row, a statement or a model has been written.

    Raises AssertionError if something of a round was visible before it was durable, or a
    model before its statement.
    """
    for point in range(40):
        count = [0]

        def after(call, count=count, point=point):
            def wrapped(*arguments):
                result = call(*arguments)
                count[0] += 1
                if count[0] == point:
                    raise Killed
                return result

            return wrapped

        run_path = path / str(point)
        with monkeypatch.context() as patched:
            for owner, name in (
                (program_lib.checkpoints_lib.Checkpoints, 'save'),
                (releases_lib.Releases, 'append'),
                (releases_lib.Releases, 'restore'),
                (directory_lib.RunDirectory, 'write_statement'),
                (directory_lib.RunDirectory, 'write_model'),
                (budget, 'begin'),
            ):
                patched.setattr(owner, name, _keep_options(after(_plain(owner, name))))
            with contextlib.suppress(Killed):
                make_experiment().run(run_path, SEED)
        _check_visible(run_path)


def _plain(owner, name):
    call = getattr(owner, name)
    return lambda arguments, options: call(*arguments, **options)


def _keep_options(call):
    return lambda *arguments, **options: call(arguments, options)


def _check_visible(path):
    directory = directory_lib.RunDirectory(path)
    durable = max(directory.checkpoints.rounds(), default=-1)
    if directory.metrics.exists():
        last = int(directory.metrics.read_text().splitlines()[-1].split(',')[0])
        assert last <= durable, f'row {last}, durable {durable}'
    if (directory.saved_model / 'saved_model.pb').exists():
        statement = directory.read_json('privacy.json') or {'rounds_completed': -1}
        noted = directory.model_round()
        assert noted <= durable and noted <= statement['rounds_completed'], noted


def test_nothing_is_visible_before_it_is_durable_and_stated(
    make_experiment, tmp_path, monkeypatch
):
    check_nothing_ahead(make_experiment, tmp_path, monkeypatch)


def rows_first(monkeypatch):
    make_durable = program_lib.TrainingProgram._make_durable

    def faulty(self, state, done, rows):
        if done:
            self._releases.append(rows)
        return make_durable(self, state, done, rows)

    monkeypatch.setattr(program_lib.TrainingProgram, '_make_durable', faulty)


def the_model_first(monkeypatch):
    publish = program_lib.TrainingProgram._publish

    def faulty(self, state, done):
        models = candidates.of_state(state)
        self._directory.write_model(done, lambda path: self._export(models, path))
        publish(self, state, done)

    monkeypatch.setattr(program_lib.TrainingProgram, '_publish', faulty)


@pytest.mark.parametrize('fault', [rows_first, the_model_first])
def test_faults_of_order_are_noticed(make_experiment, tmp_path, monkeypatch, fault):
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        check_nothing_ahead(make_experiment, tmp_path, monkeypatch)


def stop_after_journal(monkeypatch, round_num):
    """The next run ends when a round's sum is committed, before its noise is drawn."""
    commit = program_lib.run_directory_lib.journal.Journal.commit

    def killed(self, number, sums):
        attempt = commit(self, number, sums)
        if number == round_num:
            raise Killed
        return attempt

    monkeypatch.setattr(program_lib.run_directory_lib.journal.Journal, 'commit', killed)


def test_another_sum_gets_other_noise_and_is_accounted(make_experiment, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    other = make_experiment(other_sum=1)
    other.run(tmp_path / 'run', SEED)
    assert other.engines[0].attempts == [1, 0]
    statement = json.loads((tmp_path / 'run' / 'privacy.json').read_text())
    assert statement['repeated_releases'] == 1 and statement['rounds_completed'] == ROUNDS
    plan = other.plan
    assert statement['epsilon_user'] > privacy.rounded_up(plan.epsilon())
    expected = plan.epsilon(repeated_releases=1)
    assert statement['epsilon_user'] == privacy.rounded_up(expected)
    # Four draws of noise were made in three rounds.
    assert statement['statistical_distance'] == pytest.approx(4e-9, abs=0)


def test_the_same_sum_gets_the_same_noise(make_experiment, tmp_path, monkeypatch):
    make_experiment().run(tmp_path / 'whole', SEED)
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    again = make_experiment()
    again.run(tmp_path / 'run', SEED)
    assert again.engines[0].attempts == [0, 0]
    np.testing.assert_array_equal(weights_of(tmp_path / 'run'), weights_of(tmp_path / 'whole'))
    assert json.loads((tmp_path / 'run' / 'privacy.json').read_text())['repeated_releases'] == 0


def test_correlated_noise_is_not_drawn_anew_for_one_round(
    make_experiment, tmp_path, monkeypatch
):
    plan = dataclasses.replace(
        make_experiment().plan,
        mechanism=privacy.Tree(1.0, 0.5),
        sampling=privacy.MinSeparation(),
    )
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment(plan=plan).run(tmp_path / 'run', SEED)
    with pytest.raises(ValueError, match='round 2 was computed before with another sum'):
        make_experiment(plan=plan, other_sum=1).run(tmp_path / 'run', SEED)
    # Nothing was noted or spoilt: with the sum as it was it goes on.
    make_experiment(plan=plan).run(tmp_path / 'run', SEED)


def test_a_lost_journal_is_noticed(make_experiment, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 2)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    (tmp_path / 'run' / 'checkpoints' / 'sums.journal').unlink()
    with pytest.raises(ValueError, match='the journal of sums lacks 2 lines'):
        make_experiment().run(tmp_path / 'run', SEED)


def test_another_store_is_refused(make_experiment, users, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after_journal(patched, 1)
        with pytest.raises(Killed):
            make_experiment().run(tmp_path / 'run', SEED)
    generator = np.random.default_rng(1)
    with data.UserStoreWriter(tmp_path / 'other', (4, 4, 1)) as writer:
        for user in range(users.num_users):
            writer.add_user(generator.integers(0, 256, (3, 4, 4, 1), np.uint8), [user] * 3)
    # The same counts.
    other = data.UserStore.open(tmp_path / 'other')
    assert other.num_examples == users.num_examples
    with pytest.raises(ValueError, match='not those that the run began with'):
        make_experiment(train=other).run(tmp_path / 'run', SEED)
    make_experiment().run(tmp_path / 'run', SEED)


def own_store(tmp_path):
    generator = np.random.default_rng(2)
    with data.UserStoreWriter(tmp_path / 'store', (4, 4, 1)) as writer:
        for user in range(12):
            writer.add_user(generator.integers(0, 256, (3, 4, 4, 1), np.uint8), [user] * 3)
    return data.UserStore.open(tmp_path / 'store')


def test_every_run_is_in_the_ledger_of_its_users(make_experiment, tmp_path):
    store = own_store(tmp_path)
    experiment = make_experiment(train=store)
    for name in ('one', 'two'):
        experiment.run(tmp_path / name)
    found = ledger.read(store.path)
    assert found.problems == () and len(found.latest()) == 2
    one = privacy.rounded_up(experiment.plan.epsilon())
    assert found.spent()[0] == pytest.approx(2 * one)
    # Finished: the same call again spends nothing.
    experiment.run(tmp_path / 'two')
    assert ledger.read(store.path) == found


def test_the_ledger_knows_before_anything_is_released(make_experiment, tmp_path, monkeypatch):
    store = own_store(tmp_path)

    def killed(self, rows):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(releases_lib.Releases, 'append', killed)
        with pytest.raises(Killed):
            make_experiment(train=store).run(tmp_path / 'run')
    (entry,) = ledger.read(store.path).latest().values()
    assert entry.rounds >= 1 and entry.epsilon > 0


def test_a_budget_is_not_overspent(make_experiment, tmp_path):
    store = own_store(tmp_path)
    plan = make_experiment().plan
    budget = 1.5 * plan.epsilon()
    make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'one')
    with pytest.raises(ValueError, match='budget_epsilon'):
        make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'two')
    assert not (tmp_path / 'two').exists()
    assert len(ledger.read(store.path).latest()) == 1
