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
    q, users = plan.sampling_probability, plan.num_users
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
        fixed = all(size == plan.population.users_per_round for size in sizes)
        yield checks.holds(name, fixed, f'{min(sizes)} to {max(sizes)} users a round')
    else:
        yield _frequency(plan, name, sum(sizes), draws)
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


def _frequency(plan: privacy.PrivacyPlan, name: str, seen: int, draws: int) -> checks.Check:
    """All users of all rounds; in whole groups it is groups that come independently."""
    q, k = plan.sampling_probability, plan.users_per_virtual_client
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


def absent_user(plan: privacy.PrivacyPlan) -> checks.Check:
    """What an absent user moves in a round, with a store in which one has no data.

    A virtual client that is gone moves the sum by C, one that is trained without the user
    by up to 2C; all others must stay as they are.
    """
    k = plan.users_per_virtual_client
    accounted = plan.sampling.record_change(plan.population, 'present_absent')
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
    moved = 0.0
    with tempfile.TemporaryDirectory(prefix='audit-') as folder:
        stores = [_store(pathlib.Path(folder) / name, count, name) for name in ('', '0')]
        for seed in range(8):
            run = privacy.PrivateRun(small, seed)
            for round_num in range(small.rounds):
                clients = [_clients(store, run, round_num) for store in stores]
                gone = clients[0] - clients[1]
                come = clients[1] - clients[0]
                moved = max(moved, 2.0 * len(come) + max(len(gone) - len(come), 0))
    return checks.holds(
        'an absent user moves no more of a round than is accounted',
        moved <= accounted.update,
        f'up to {moved:g} C, {accounted.update:g} C accounted',
    )


def _store(path: pathlib.Path, count: int, absent: str) -> store_lib.UserStore:
    """Users of one image each, which tells who it is."""
    with store_writer.UserStoreWriter(path / 'store', (1, 1, 1)) as writer:
        for user in range(count):
            if str(user) == absent:
                writer.add_absent_user(str(user))
            else:
                writer.add_user(np.full((1, 1, 1, 1), user % 256, np.uint8), [user], str(user))
    return store_lib.UserStore.open(path / 'store')


def _clients(
    store: store_lib.UserStore, run: privacy.PrivateRun, round_num: int
) -> set[tuple[int, ...]]:
    """The virtual clients of a round, each as the users whose images it is trained on."""
    (shard,) = virtual_clients.assemble(store, run, round_num, 1)
    users = store.users
    parts = np.split(shard['rows'], shard['splits'][1:-1])
    return {tuple(sorted(users[part].tolist())) for part in parts if len(part)}
