"""Membership of users: attacks see an overfitted model, and nothing where noise hides all."""

import json

import numpy as np
import pytest
from scipy import special

from dp_fedemb import privacy
from dp_fedemb.auditing import estimators
from dp_fedemb.auditing import plots
from dp_fedemb.auditing.estimators import trade_off
from dp_fedemb.auditing.membership import attacks
from dp_fedemb.auditing.membership import features
from dp_fedemb.auditing.membership import game
from dp_fedemb.auditing.membership import roc
from dp_fedemb.privacy import analysis as analysis_lib


def test_rates_by_hand():
    scores = np.array([5.0, 4.0, 3.0, 3.0, 2.0, 1.0])
    members = np.array([True, False, True, False, True, False])
    false, true = roc.curve(scores, members)
    # Equal scores come together.
    np.testing.assert_allclose(false, [0, 0, 1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(true, [0, 1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert roc.tpr_at(scores, members, 0.01) == 1 / 3
    assert roc.tpr_at(scores, members, 0.7) == 1.0
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[members] for b in scores[~members]]
    np.testing.assert_allclose(roc.auc(scores, members), np.mean(pairs))


def test_intervals_are_over_users():
    generator = np.random.default_rng(0)
    members = np.array([generator.random(200) < 0.5] * 4)
    # The same four times over tells nothing new.
    scores = np.array([generator.standard_normal(200) + members[0]] * 4)
    four, one = (roc.rates(scores[:n], members[:n], (0.1,))[0] for n in (4, 1))
    assert (four.low, four.high, four.tpr) == (one.low, one.high, one.tpr)
    assert four.low <= four.tpr <= four.high and four.high - four.low > 0.05


def test_what_a_guarantee_allows_is_its_curve():
    curve = trade_off.of_analysis(analysis_lib.Gaussian(0.5))
    exact = special.ndtr(special.ndtri(1e-3) + 2.0)
    assert exact <= roc.allowed(curve, 1e-3) < 1.1 * exact


def test_features_by_hand():
    together = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    apart = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(features.compactness([together, apart], []), [1.0, 0.0])
    found = features.separation([together, apart], [np.array([[0.0, 1.0]] * 2)])
    np.testing.assert_allclose(found, [1.0, -0.5])
    with pytest.raises(ValueError, match='at least 2'):
        features.compactness([together[:1]], [])


def test_likelihood_ratio_beats_the_feature_where_users_differ():
    generator = np.random.default_rng(1)
    users, models = 400, 8
    members = np.array([generator.random(users) < 0.5 for _ in range(models)])
    own = 3 * generator.standard_normal(users)
    seen = own + members + 0.5 * generator.standard_normal((models, users))
    ratios = attacks.shadow_scores(seen, members)
    assert roc.auc(seen.ravel(), members.ravel()) < 0.65
    assert roc.auc(ratios.ravel(), members.ravel()) > 0.8
    # The target's own bits are not used: others of it change nothing.
    flipped = members.copy()
    flipped[3] = ~flipped[3]
    np.testing.assert_array_equal(attacks.shadow_scores(seen, flipped, 3), ratios[3])


@pytest.fixture(scope='module')
def played(people, training_setup):
    def play(mechanism):
        def plan(num_users):
            return privacy.PrivacyPlan(num_users, num_users // 4, 4, 8, mechanism, delta=1e-3)

        candidates = game.Candidates.of_store(people, 4, seed=0)
        return plan(24), game.play(candidates, training_setup, plan, models=3, seed=3)

    return play


def test_overfitting_shows_and_noise_hides_it(played):
    plan, leaky = played(privacy.NoPrivacy())
    best = {
        kind: max(
            roc.auc(each.scores.ravel(), each.members.ravel())
            for each in leaky
            if each.images == kind
        )
        for kind in (game.SEEN, game.OTHER)
    }
    assert best[game.SEEN] > 0.75
    private, hidden = played(privacy.Gaussian(0.1, 20.0))
    claims = {
        name: estimators.Claim.of_plan(each)
        for name, each in (('no privacy', plan), ('private', private))
    }
    rows = []
    for name, found in (('no privacy', leaky), ('private', hidden)):
        rows += [{'label': name, **each.to_json(claims[name])} for each in found]
    json.dumps(rows)
    assert len(rows) == 16
    for row in rows[8:]:
        # 48 users, three models: chance is wide.
        assert abs(row['auc'] - 0.5) < 0.25
        assert not row['bound']['alarm']
    assert plots.membership_roc({'no privacy': leaky, 'private': hidden}).axes
    epsilons = {name: claim.epsilon for name, claim in claims.items()}
    assert plots.membership_by_epsilon(rows, epsilons, claims).axes


def test_users_are_cut_in_parts_that_do_not_meet(people):
    candidates = game.Candidates.of_store(people, 3, seed=0)
    assert not set(candidates.candidates) & set(candidates.reference)
    for user in candidates.candidates:
        seen, other = candidates.rows(user)
        assert len(seen) == len(other) == 3 and not set(seen) & set(other)
        assert set(people.users[np.concatenate([seen, other])]) == {user}


@pytest.mark.parametrize('models', [1, 2])
def test_too_few_models_are_refused(models, people, training_setup):
    candidates = game.Candidates.of_store(people, 3, seed=0)
    with pytest.raises(ValueError, match=f'models={models}'):
        game.play(candidates, training_setup, lambda n: None, models=models)


def test_a_plan_of_other_users_is_refused(people, training_setup):
    plan = privacy.PrivacyPlan(8, 2, 1, 1, privacy.NoPrivacy())
    with pytest.raises(ValueError, match='a plan of 8 users'):
        next(training_setup.releases(privacy.PrivateRun(plan, 1), people))
