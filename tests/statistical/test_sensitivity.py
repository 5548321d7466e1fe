"""What one user can change in the sum, through the real sampler, grouping and clip.

In place of training, a virtual client's update is a cheap function of its users that
is as unlike in neighbours as clipping allows: another user in the virtual client gives
an unrelated vector. `tests/learning/test_local_fine_tuning.py` does it with training.
"""

import contextlib
import dataclasses
from unittest import mock

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np
import pytest
import tensorflow as tf

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.aggregation import fixed_point
from dp_fedemb.aggregation import quantile
from dp_fedemb.privacy.sampling import base

CLIP_NORM = 0.5
SHAPES = ([3, 2], [5])
SPECS = [tf.TensorSpec(shape) for shape in SHAPES]
ABSENT = None
POISSON, FIXED = privacy.Poisson('slots'), privacy.FixedSize()
SEPARATED = privacy.MinSeparation(grouping='slots')
SHUFFLED = privacy.MinSeparation(min_separation=1, grouping='slots')
GROUPS, SCHEDULE = privacy.Poisson(), privacy.MinSeparation(min_separation=1)
MECHANISMS = {
    'gaussian': privacy.Gaussian(CLIP_NORM, 1.5),
    'adaptive_gaussian': privacy.AdaptiveGaussian(CLIP_NORM, 1.5, clipped_count_stddev=1.0),
    'tree': privacy.Tree(CLIP_NORM, 1.5),
    'tree_adaptive': privacy.TreeAdaptive(
        CLIP_NORM, 1.5, restart_rounds=4, clipped_count_stddev=1.0
    ),
}
PAIRS = [
    (sampling, name)
    for sampling in (POISSON, FIXED, SEPARATED, SHUFFLED, GROUPS, SCHEDULE)
    for name in MECHANISMS
    if 'tree' not in name or isinstance(sampling, privacy.MinSeparation)
]


class CoupledGenerator:
    """A random generator in which each user keeps its own draws.

    Samplers draw for the users of a population; to compare two populations, whoever is
    in both must have the same luck. What is drawn for all users at once is drawn for
    everybody that could exist, and `joined` follows who is there.
    """

    def __init__(self, generator, everybody, absent):
        self._coins = generator.random(everybody)
        self._slots = generator.integers(2**31, size=everybody)
        self._permuted = generator.permutation(everybody)
        self._absent = absent
        self._drawn = self._coins

    def random(self, size):
        assert size == len(self._coins)
        if self._absent is not None:
            self._drawn = self._coins.copy()
            self._drawn[self._absent] = 1.0  # Never below a probability.
        return self._drawn

    def integers(self, high, size):
        # One slot for each that joined, in the order of the users.
        joined = np.argsort(self._drawn, kind='stable')[:size]
        return self._slots[np.sort(joined)] % high

    def permutation(self, users):
        return np.array(sorted(users, key=lambda user: self._permuted[user]), np.int64)


@contextlib.contextmanager
def absent_user(everybody, user):
    """In here Poisson samplers draw as if `user` (None: nobody) did not exist."""

    def generator(*key):
        return CoupledGenerator(randomness_generator(*key), everybody, user)

    randomness_generator = randomness.generator
    with mock.patch.object(randomness, 'generator', generator):
        yield


def cheap_update(data_of_users):
    """A virtual client's update: unrelated vectors for different sets of data.

    Their norms are from far below the clip to far above it, some not finite, and zero for
    nobody.
    """
    present = sorted(data for data in data_of_users if data is not ABSENT)
    if not present:
        return [np.zeros(shape, np.float32) for shape in SHAPES]
    generator = np.random.default_rng(present)
    record = [generator.normal(size=shape) for shape in SHAPES]
    if generator.random() < 0.7:
        # All in one direction: the worst case for a sum, if signs differ.
        record = [np.ones(shape) * generator.choice([-1, 1]) for shape in SHAPES]
    scale = generator.choice([1e-3, 0.1, 1.0, 100.0, np.nan], p=[0.1, 0.1, 0.3, 0.4, 0.1])
    return [(scale * leaf).astype(np.float32) for leaf in record]


def clipped_sums(query, cohort, data):
    """Returns the sum before the noise, flat integers, and the count if there is one."""
    state = query.initial_global_state()
    params = query.derive_sample_params(state)
    total = query.initial_sample_state(SPECS)
    for users in cohort.users:
        record = cheap_update([data[user] for user in users])
        record = query.preprocess_record(params, [tf.constant(leaf) for leaf in record])
        total = query.accumulate_preprocessed_record(total, record)
    leaves = [leaf.numpy().ravel() for leaf in tf.nest.flatten(total)]
    return np.concatenate(leaves[: len(SHAPES)]), sum(map(np.sum, leaves[2:]))


def present(cohort, data):
    """The cohort whose groups with an absent member are void, where groups are whole."""
    if not cohort.whole_groups:
        return cohort
    whole = [users for users in cohort.users if all(data[u] is not ABSENT for u in users)]
    return privacy.Cohort(tuple(whole), True)


def neighbours(plan, seed, round_num, user, unit):
    """Returns (cohort, data) of a data set and of its neighbour that lacks the user.

    The relation is that of the plan: the user is removed, or its data are, or are replaced
    by others, none (with its group trained without them) included.
    """
    users = plan.num_users
    data = {each: 10 + each for each in range(users)}
    sampler = privacy.PrivateRun(plan, seed)
    relation = plan.sampling.relation(unit).code
    if plan.relation.code == 'ADD_OR_REMOVE_ONE':
        with absent_user(users, None):
            whole = sampler.cohort(round_num)
        with absent_user(users, user):
            without = sampler.cohort(round_num)
        assert user not in np.concatenate([[-1], *without.users])
        return (whole, data), (without, data)
    cohort = sampler.cohort(round_num)
    if relation == 'REPLACE_ONE':
        other = 10 + users + seed if seed % 3 else ABSENT
        return (cohort, data), (cohort, data | {user: other})
    without = data | {user: ABSENT}
    return (cohort, data), (present(cohort, without), without)


def check_sensitivity(plan, seed, round_num, user, unit='user'):
    """Fails if the user moves the sums by more than the plan accounts for."""
    query = aggregation.build_query(privacy.PrivateRun(plan, seed), SPECS)
    # Of the sums, not of the mean.
    query = query._numerator
    (sum_with, count_with), (sum_without, count_without) = (
        clipped_sums(query, cohort, data)
        for cohort, data in neighbours(plan, seed, round_num, user, unit)
    )
    units = query._grid.units
    squared = sum(int(number) ** 2 for number in sum_with - sum_without)
    change = plan.sampling.record_change(plan.population, unit)
    assert squared <= (change.update * units) ** 2
    halves = abs(int(count_with) - int(count_without)) / quantile.COUNT_UNITS
    assert halves / 2 <= change.count
    return squared**0.5 / units


def build_plan(sampling, name, m, k, spare_users=0):
    return privacy.PrivacyPlan(
        num_users=m * k + spare_users,
        virtual_clients_per_round=m,
        users_per_virtual_client=k,
        rounds=6,
        mechanism=MECHANISMS[name],
        sampling=sampling,
        delta=1e-3,
    )


@pytest.mark.parametrize(
    'sampling, name', PAIRS, ids=[f'{name}-{sampling}' for sampling, name in PAIRS]
)
@settings(max_examples=25)
@given(
    m=strategies.integers(1, 5),
    k=strategies.integers(1, 4),
    spare_users=strategies.integers(0, 9),
    seed=strategies.integers(0, 10**6),
    round_num=strategies.integers(0, 5),
    pick=strategies.integers(0, 10**6),
    unit=strategies.sampled_from(['user', 'present_absent']),
)
def test_user_moves_the_sums_no_more_than_accounted(
    sampling, name, m, k, spare_users, seed, round_num, pick, unit
):
    plan = build_plan(sampling, name, m, k, spare_users)
    check_sensitivity(plan, seed, round_num, pick % plan.num_users, unit)


def worst_move(plan, trials=40, unit='user'):
    """The greatest change over seeds and users, in units of C."""
    users = plan.num_users
    return max(check_sensitivity(plan, seed, 0, seed % users, unit) for seed in range(trials))


@pytest.mark.parametrize(
    'sampling, name, k, unit, least',
    [
        (POISSON, 'gaussian', 1, 'user', 0.99),
        (POISSON, 'gaussian', 3, 'user', 1.9),
        (FIXED, 'gaussian', 1, 'user', 1.9),
        (FIXED, 'gaussian', 3, 'user', 1.9),
        (SEPARATED, 'tree', 1, 'user', 0.99),
        (SEPARATED, 'tree', 3, 'user', 1.9),
        (GROUPS, 'gaussian', 1, 'user', 1.9),
        (GROUPS, 'gaussian', 3, 'user', 1.9),
        (GROUPS, 'gaussian', 3, 'present_absent', 0.99),
        (SCHEDULE, 'tree', 3, 'user', 1.9),
        (SCHEDULE, 'tree', 3, 'present_absent', 0.99),
    ],
)
def test_accounted_sensitivity_is_reached(sampling, name, k, unit, least):
    # So the test above is not passed by updates that are all alike.
    assert worst_move(build_plan(sampling, name, 4, k), unit=unit) > least


def test_mutation_a_void_group_is_trained_all_the_same(monkeypatch):
    """Without the void, an absent user costs 2C in whole groups, too."""
    plan = build_plan(GROUPS, 'gaussian', 4, 3)
    worst_move(plan, unit='present_absent')
    monkeypatch.setitem(globals(), 'present', lambda cohort, data: cohort)
    with pytest.raises(AssertionError):
        worst_move(plan, unit='present_absent')


@dataclasses.dataclass(frozen=True)
class Chunked(privacy.Poisson):
    """A fault: sampled users are dealt into consecutive groups of k."""

    def cohort(self, population, seed, round_num):
        generator = randomness.generator(seed, 'cohort', round_num)
        joined = generator.random(population.num_users) < population.sampling_probability
        users = generator.permutation(np.flatnonzero(joined))
        k = population.users_per_virtual_client
        return base.Cohort(tuple(users[i : i + k] for i in range(0, len(users), k)))


def test_mutation_chunked_grouping():
    plan = build_plan(Chunked('slots'), 'gaussian', 4, 3, spare_users=6)
    with pytest.raises(AssertionError):
        worst_move(plan)


def clip_per_layer(grid, record, clip_norm):
    """A fault: every tensor is clipped on its own."""
    clipped = [intact_clip(grid, [leaf], clip_norm) for leaf in tf.nest.flatten(record)]
    leaves = [leaf[0] for leaf, _ in clipped]
    return tf.nest.pack_sequence_as(record, leaves), clipped[0][1]


def no_clip(grid, record, clip_norm):
    """A fault: the clip is skipped, and what is not finite dropped."""
    _, norm = intact_clip(grid, record, clip_norm)
    units = [leaf * (grid.units / clip_norm) for leaf in tf.nest.flatten(record)]
    return [tf.cast(tf.where(norm > 0, leaf, 0.0), tf.int64) for leaf in units], norm


intact_clip = fixed_point.Grid.clip


@pytest.mark.parametrize(
    'sampling, name, k',
    [(POISSON, 'gaussian', 1), (FIXED, 'gaussian', 2), (SEPARATED, 'tree', 2)],
)
def test_mutation_clip_per_layer(sampling, name, k, monkeypatch):
    monkeypatch.setattr(fixed_point.Grid, 'clip', clip_per_layer)
    with pytest.raises(AssertionError):
        worst_move(build_plan(sampling, name, 4, k))


def test_mutation_no_clip(monkeypatch):
    plan = build_plan(POISSON, 'gaussian', 4, 2)
    monkeypatch.setattr(fixed_point.Grid, 'clip', no_clip)
    with pytest.raises(AssertionError):
        worst_move(plan)


def test_mutation_padding_counted_as_unclipped(monkeypatch):
    """Slots that only pad the cohort (k = 1) are nobody's, and must count nothing."""
    pad = np.zeros(0, np.int64)

    @dataclasses.dataclass(frozen=True)
    class Padded(privacy.Poisson):
        def cohort(self, population, seed, round_num):
            users = super().cohort(population, seed, round_num).users
            return base.Cohort(users + (pad,) * (population.num_users - len(users)))

    plan = build_plan(Padded('slots'), 'adaptive_gaussian', 4, 1)
    worst_move(plan)
    monkeypatch.setattr(
        quantile,
        'half_count',
        lambda norm, clip: tf.cast(tf.where(norm > tf.cast(clip, tf.float64), -1, 1), tf.int64),
    )
    with pytest.raises(AssertionError):
        worst_move(plan)
