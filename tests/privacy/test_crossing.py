"""Where correlated noise overtakes independent noise."""

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import choice
from dp_fedemb.privacy import crossing
from dp_fedemb.privacy.factorization import server

SGD = server.Server(0.9)


@pytest.fixture(scope='module')
def candidates(make_plan):
    plan = make_plan('gaussian', num_users=40_000, virtual_clients_per_round=400, rounds=100)
    return choice.candidates(plan, 8.0, SGD)


@pytest.fixture(scope='module')
def search(candidates):
    return crossing.Search(candidates)


@pytest.mark.parametrize(
    'amplified_bands, correlated', [(True, 'cyclic_poisson of 2'), (False, 'min_separation')]
)
def test_both_kinds_have_the_same_noise_at_the_crossing(
    candidates, search, amplified_bands, correlated
):
    found = search.find(amplified_bands)
    assert found.correlated_is_better
    assert (found.independent, found.correlated) == (
        'gaussian, poisson',
        f'banded, {correlated}',
    )
    plans = {each.name: each.plan for each in candidates}
    workload = SGD.workload(100)

    def noises(epsilon):
        solved = [privacy.calibrate(plans[name], epsilon) for name in found[1:3]]
        return [choice.model_noise(plan, workload) for plan in solved]

    independent, of_correlated = noises(found.epsilon)
    assert independent == pytest.approx(of_correlated, rel=2e-3)
    independent, of_correlated = noises(found.epsilon / 1.2)
    assert independent < of_correlated
    independent, of_correlated = noises(found.epsilon * 1.2)
    assert independent > of_correlated


def test_the_target_does_not_matter(candidates):
    names = ('gaussian, poisson', 'bisr, min_separation')
    few = [each for each in candidates if each.name in names]
    workload = SGD.workload(100)
    others = []
    for each in few:
        plan = privacy.calibrate(each.plan, 0.5)
        others.append(choice.Candidate(each.name, plan, choice.model_noise(plan, workload)))
    at_8, at_half = (crossing.Search(side).find() for side in (few, others))
    assert at_8.correlated_is_better and not at_half.correlated_is_better
    assert at_8.epsilon == pytest.approx(at_half.epsilon, rel=1e-3)


def test_no_crossing(candidates, make_plan):
    # Nothing is amplified where everybody is in every round.
    everybody = make_plan('gaussian', num_users=16, rounds=20)
    found = crossing.Search(choice.candidates(everybody, 8.0)).find()
    assert found.epsilon is None
    only = [each for each in candidates if each.name.startswith('gaussian')]
    assert crossing.Search(only).find() is None
