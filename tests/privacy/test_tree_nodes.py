"""Visits to tree nodes, against an enumeration of every pattern and every node."""

import itertools

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import participation as participation_lib
from dp_fedemb.privacy.mechanisms import tree_nodes


def _nodes(rounds, restart, complete):
    """Real rounds below every complete node, written out tree by tree."""
    tree_rounds = restart or rounds
    for start in range(0, rounds, tree_rounds):
        real = list(range(start, min(start + tree_rounds, rounds)))
        leaves = len(real)
        if complete and leaves == tree_rounds:
            while leaves & (leaves - 1):
                leaves += 1
        length = 1
        while length <= leaves:
            for first in range(0, leaves - length + 1, length):
                yield real[first : first + length]
            length *= 2


def _worst(patterns, rounds, restart, complete):
    nodes = [set(node) for node in _nodes(rounds, restart, complete)]
    return max(
        sum(len(node.intersection(pattern)) ** 2 for node in nodes) for pattern in patterns
    )


def _patterns(schedule, rounds):
    """Every set of rounds that some user can be in."""
    for first in range(0, schedule.epoch, schedule.window):
        window = range(first, min(first + schedule.window, schedule.epoch))
        epochs = -(-rounds // schedule.epoch)
        for places in itertools.product(window, repeat=epochs):
            pattern = {e * schedule.epoch + place for e, place in enumerate(places)}
            yield {r for r in pattern if r < rounds}


@pytest.mark.parametrize('restart, complete', [(None, False), (5, False), (5, True), (8, True)])
@pytest.mark.parametrize('rounds', [1, 6, 13, 16])
@pytest.mark.parametrize('epoch', [1, 3, 4, 7])
def test_cyclic_participation_is_exact(epoch, rounds, restart, complete):
    schedule = participation_lib.ParticipationSchedule(epoch)
    expected = _worst(_patterns(schedule, rounds), rounds, restart, complete)
    assert tree_nodes.squared_visits(schedule, rounds, restart, complete) == expected


@pytest.mark.parametrize('restart, complete', [(None, False), (5, False), (5, True)])
@pytest.mark.parametrize('rounds', [5, 11, 16])
@pytest.mark.parametrize('epoch, window', [(4, 2), (4, 4), (5, 3), (6, 5)])
def test_windows_are_an_upper_bound_and_not_a_loose_one(
    epoch, window, rounds, restart, complete
):
    schedule = participation_lib.ParticipationSchedule(epoch, window)
    exact = _worst(_patterns(schedule, rounds), rounds, restart, complete)
    bound = tree_nodes.squared_visits(schedule, rounds, restart, complete)
    assert exact <= bound <= 1.5 * exact


@pytest.mark.parametrize('restart, complete', [(None, False), (6, False), (6, True)])
@pytest.mark.parametrize('window', [1, 3])
def test_cost_never_falls_with_rounds(window, restart, complete):
    schedule = participation_lib.ParticipationSchedule(5, window)
    costs = [tree_nodes.squared_visits(schedule, t, restart, complete) for t in range(40)]
    assert costs[0] == 0 and costs == sorted(costs)


def test_bound_covers_what_the_real_sampler_does(make_plan):
    """Every user's own rounds, of drawn cohorts, in every node."""
    plan = make_plan(
        'tree',
        num_users=60,
        virtual_clients_per_round=4,
        users_per_virtual_client=2,
        rounds=37,
        sampling=privacy.MinSeparation(min_separation=4),
    )
    sampler = privacy.PrivateRun(plan, 3)
    members = np.zeros((37, 60))
    for round_num in range(37):
        members[round_num, np.concatenate(sampler.cohort(round_num).users)] = 1
    mechanism = plan.mechanism
    nodes = _nodes(37, mechanism.restart_rounds, mechanism.tree_completion)
    visits = sum(members[node].sum(axis=0) ** 2 for node in nodes)
    bound = tree_nodes.squared_visits(plan.sampling.participation(plan.population), 37, 3, True)
    assert 0.6 * bound < visits.max() <= bound


def test_window_longer_than_the_epoch_is_refused():
    with pytest.raises(ValueError, match='window=4: expected at most epoch=3'):
        participation_lib.ParticipationSchedule(3, 4)
