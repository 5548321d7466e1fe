"""Checks of who takes part: as often, as independently and in such groups as is claimed."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
import pathlib
import tempfile

import numpy as np

from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import store_writer
from dp_fedemb.data import virtual_clients
from dp_fedemb.privacy import analysis as analysis_lib
from dp_fedemb.privacy import relations
from dp_fedemb.privacy.sampling import groups

# Draws of cohorts: users times rounds, for large populations fewer rounds.
_MOST_PLACES = 4_000_000
_MOST_ROUNDS = 200


def run_checks(runs: Sequence[privacy.PrivateRun]) -> Iterator[checks.Check]:
    """Makes all checks of drawn cohorts.

    Args:
        runs: of one plan and different seeds.
    """
    plan = runs[0].plan
    rounds = min(plan.rounds, _MOST_ROUNDS, max(2, _MOST_PLACES // plan.num_users // len(runs)))
    yield from _groups(runs, rounds)
    if hasattr(plan.sampling, 'participation'):
        yield from _schedule(runs, rounds)
    else:
        yield from _sampled(runs, rounds)


def _is_whole(plan: privacy.PrivacyPlan) -> bool:
    return getattr(plan.sampling, 'grouping', None) == groups.GROUPS


def _groups(runs: Sequence[privacy.PrivateRun], rounds: int) -> Iterator[checks.Check]:
    """In whole groups every virtual client has k users, and counts as a whole."""
    plan = runs[0].plan
    k, left_over = plan.users_per_virtual_client, plan.num_users % plan.users_per_virtual_client
    twice = odd = unmarked = 0
    for run in runs:
        for round_num in range(rounds):
            cohort = run.cohort(round_num)
            users = np.concatenate([np.zeros(0, np.int64), *cohort.users])
            twice += len(users) - len(np.unique(users))
            sizes = np.array([len(group) for group in cohort.users])
            if _is_whole(plan):
                # One smaller group at most; schedules leave that of the last round of an
                # epoch, samplers any.
                odd += int(np.sum(sizes != k)) - int(np.sum(sizes == left_over) == 1)
                unmarked += not cohort.whole_groups
            elif cohort.whole_groups:
                unmarked += 1
    yield checks.holds('no user is in a round twice', twice == 0, f'{twice} users')
    yield checks.holds(
        'virtual clients are made up as the plan says',
        odd <= 0 and unmarked == 0,
        f'{max(odd, 0)} of another size, {unmarked} rounds of another grouping',
    )


def _sampled(runs: Sequence[privacy.PrivateRun], rounds: int) -> Iterator[checks.Check]:
    plan = runs[0].plan
    told = plan.analysis(plan.rounds)
    assert isinstance(told, analysis_lib.SampledGaussian)
    q, users = told.probability, plan.num_users
    yield checks.holds(
        'the accountant is told of every round',
        told.rounds >= plan.rounds,
        f'{told.rounds} of {plan.rounds}',
    )
    times = np.zeros(users)
    sizes, both = [], []
    previous = np.zeros(users, bool)
    for run in runs:
        for round_num in range(rounds):
            there = np.zeros(users, bool)
            there[np.concatenate([np.zeros(0, np.int64), *run.cohort(round_num).users])] = True
            times += there
            sizes.append(int(there.sum()))
            both.append(int(np.sum(there & previous)))
            previous = there
    draws = len(sizes)
    name = 'users take part as often as is accounted'
    if plan.sampling.name == 'fixed_size':
        yield checks.holds(
            name,
            all(size == round(q * users) for size in sizes),
            f'{min(sizes)} to {max(sizes)} users a round, {q * users:g} accounted',
        )
    else:
        yield _frequency(plan, name, q, sum(sizes), draws)
    # How often each user came, against all the same.
    expected = draws * q
    spread = float(np.sum((times - times.mean()) ** 2) / max(expected * (1 - q), 1e-12))
    degrees = users - 1
    if q < 1:
        # Whole groups come together, but are divided anew in every round.
        deviations = (spread - degrees) / math.sqrt(2 * degrees)
        too_even_or_not = max(abs(deviations) - 3 * math.sqrt(2 / degrees), 0.0)
        yield checks.normal(
            'no user comes more often than others',
            too_even_or_not / 2,
            1,
            f'spread {spread / degrees:.3f} of chance',
        )
        meetings = sum(both[1:])
        mean = (draws - 1) * users * q * q
        # Users of one group meet the round before each on its own, but there are k of them.
        width = math.sqrt(mean * plan.users_per_virtual_client + 1)
        yield checks.normal(
            'cohorts of rounds are independent',
            (meetings - mean) / width / 2,
            1,
            f'{meetings:,} users of a round in the next one, {mean:,.1f} expected',
        )


def _frequency(
    plan: privacy.PrivacyPlan, name: str, q: float, seen: int, draws: int
) -> checks.Check:
    """All users of all rounds; in whole groups it is groups that come independently."""
    k = plan.users_per_virtual_client
    if not _is_whole(plan) or k == 1:
        return checks.count(name, seen, draws * plan.num_users, q, 'users in all rounds')
    places = plan.num_users
    whole, rest = divmod(places, k)
    variance = draws * q * (1 - q) * (whole * k * k + rest * rest)
    mean = draws * places * q
    deviations = (seen - mean) / math.sqrt(variance) if variance else float(seen != mean) * 99
    return checks.normal(
        name, deviations, 1, f'{seen:,} users in all rounds, {mean:,.1f} expected'
    )


def _schedule(runs: Sequence[privacy.PrivateRun], rounds: int) -> Iterator[checks.Check]:
    plan = runs[0].plan
    schedule = plan.sampling.participation(plan.population)  # type: ignore[attr-defined]
    observed = [run.observed(rounds) for run in runs]
    nearest = min((each.min_separation or rounds for each in observed), default=rounds)
    most = max(each.max_participations for each in observed)
    yield checks.holds(
        'users come back no sooner, and no more often, than is accounted',
        nearest >= min(schedule.min_separation, rounds) and most <= schedule.most(rounds),
        f'after {nearest} rounds at the least, {most} times of {rounds} rounds at the most;'
        f' {schedule.min_separation} and {schedule.most(rounds)} accounted',
    )
    yield from _sensitivity(runs[0], rounds)


def _sensitivity(run: privacy.PrivateRun, rounds: int) -> Iterator[checks.Check]:
    """The sensitivity of all rounds together, from the rounds that users really are in.

    Those of each user, through the strategy's matrix where the noise is correlated: the
    columns that belong to its rounds, added up, since what a user sends is its own choice
    and may be the same in all of them.
    """
    plan = run.plan
    column = np.eye(1, rounds)[0]
    if isinstance(plan.mechanism, privacy.Correlated):
        column = plan.mechanism.resolved_strategy().column(rounds)
    elif not plan.mechanism.independent_rounds:
        return  # A tree's nodes are no columns.
    there = np.zeros((plan.num_users, rounds), bool)
    for round_num in range(rounds):
        there[np.concatenate([[], *run.cohort(round_num).users]).astype(int), round_num] = True
    matrix = np.array([np.pad(column, (j, 0))[:rounds] for j in range(rounds)])
    norms = np.linalg.norm(np.unique(there, axis=0).astype(float) @ matrix, axis=1)
    told = plan.analysis(rounds)
    assert told is not None
    _, moved = _moves(plan)
    replaced = plan.sampling.relation() == relations.REPLACED
    change = moved['replaced' if replaced else 'absent']
    seen = float(norms.max()) * change * plan.mechanism.clip_norm / plan.noise_stddev
    yield checks.holds(
        "the rounds that users are in have the accountant's sensitivity",
        seen <= (1 + 1e-6) / told.ratio,
        f'{seen:.6g} of the noise, {1 / told.ratio:.6g} accounted',
    )


def changed_user(plan: privacy.PrivacyPlan) -> Iterator[checks.Check]:
    """What a user's data move in a round, against what the accountant is told.

    By stores in which one user has other data, or none, and the rounds that are made of
    them. A virtual client that is gone moves the sum by C, one that becomes another by up
    to 2C; all others must stay as they are. What the accountant is told is the noise over
    the move: its own noise over it is the move it believes in.
    """
    small, moved = _moves(plan)
    for unit in ('user', 'present_absent'):
        relation = plan.sampling.relation(unit)
        # Only a relation that says so lets a user's data become others.
        replaced = relation == relations.REPLACED
        seen = max(moved.values()) if replaced else moved['absent']
        told = _told_move(small, unit)
        yield checks.holds(
            'a user moves no more of a round than the accountant is told'
            + (', if absent' if unit == 'present_absent' else ''),
            seen <= told * (1 + 1e-9),
            f'up to {seen:g} C, {told:g} C accounted ({relation.name})',
        )


def _moves(plan: privacy.PrivacyPlan) -> tuple[privacy.PrivacyPlan, dict[str, float]]:
    """A small plan of the same sampler, and what it moves for an absent and a replaced user."""
    k = plan.users_per_virtual_client
    # As many rounds to an epoch as a schedule wants.
    count = 3 * k * (getattr(plan.sampling, 'min_separation', None) or 2)
    small = dataclasses.replace(
        plan,
        num_users=count,
        virtual_clients_per_round=3,
        rounds=2,
        mechanism=privacy.Gaussian(1.0, 1.0),
        delta=0.5 / count,
        noise_cohort_size=None,
    )
    with tempfile.TemporaryDirectory(prefix='audit-') as folder:
        stores = [_store(pathlib.Path(folder) / name, count, name) for name in ('', '0', 'new')]
        moved = {
            name: max(
                _moved(privacy.PrivateRun(small, seed), stores[0], other) for seed in range(8)
            )
            for name, other in (('absent', stores[1]), ('replaced', stores[2]))
        }
    return small, moved


def _told_move(plan: privacy.PrivacyPlan, unit: str) -> float:
    """The move, over C, that the accountant's noise belongs to, of one participation."""
    told = plan.analysis(1, unit)
    assert told is not None
    stddev = plan.noise_stddev / plan.mechanism.clip_norm
    # Of two data sets that move the sum in opposite directions each is told of its own.
    sides = 2.0 if getattr(told, 'kind', '') == 'replaced' else 1.0
    return sides * stddev / told.ratio


def _moved(
    run: privacy.PrivateRun, store: store_lib.UserStore, other: store_lib.UserStore
) -> float:
    """Most that two data sets' rounds are apart, in units of C."""
    apart = 0.0
    for round_num in range(run.plan.rounds):
        clients = [_clients(each, run, round_num) for each in (store, other)]
        gone, come = clients[0] - clients[1], clients[1] - clients[0]
        # One that is gone and one that has come are 2 C apart, whichever they are.
        apart = max(apart, 2.0 * min(len(gone), len(come)) + abs(len(gone) - len(come)))
    return apart


def _store(path: pathlib.Path, count: int, kind: str) -> store_lib.UserStore:
    """Users of one image each, user 0 with two images if `kind` is new, or none if 0."""
    with store_writer.UserStoreWriter(path / 'store', (1, 1, 1)) as writer:
        for user in range(count):
            if str(user) == kind:
                writer.add_absent_user(str(user))
                continue
            images = 2 if kind == 'new' and user == 0 else 1
            shape = (images, 1, 1, 1)
            writer.add_user(np.full(shape, user % 256, np.uint8), [user] * images, str(user))
    return store_lib.UserStore.open(path / 'store')


def _clients(
    store: store_lib.UserStore, run: privacy.PrivateRun, round_num: int
) -> set[tuple[int, ...]]:
    """The virtual clients of a round, each as the users of the images it is trained on."""
    (shard,) = virtual_clients.assemble(store, run, round_num, 1)
    users = store.users
    parts = np.split(shard['rows'], shard['splits'][1:-1])
    return {tuple(sorted(users[part].tolist())) for part in parts if len(part)}
