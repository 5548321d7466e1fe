"""Recall against noise: made-up curves whose truth is known, and what users they take."""

import dataclasses
import json

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy.factorization import server as server_lib
from dp_fedemb.privacy.reporting import utility
from dp_fedemb.privacy.reporting import utility_runs
from dp_fedemb.privacy.reporting import utility_users

TRUTH = utility.Curve(top=0.45, half=0.01, slope=1.5)
RATIOS = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
SGD = server_lib.Server(0.9)


def draw(seed, scatter, truth=TRUTH):
    generator = np.random.default_rng(seed)
    noise = scatter * generator.standard_normal(len(RATIOS))
    return [truth.recall(ratio) + error for ratio, error in zip(RATIOS, noise)]


@pytest.mark.parametrize(
    'truth', [TRUTH, utility.Curve(0.9, 0.002, 3.0), utility.Curve(0.6, 0.006, 1.0, floor=0.1)]
)
def test_without_scatter_the_curve_is_found(truth):
    fit = utility.fit(RATIOS, draw(0, 0.0, truth), truth.floor, repetitions=3)
    found, expected = dataclasses.astuple(fit.curve), dataclasses.astuple(truth)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert fit.scatter < 1e-4
    low, high = fit.ratio_at(0.05)[1:]
    np.testing.assert_allclose((low, high), truth.ratio_at(0.05), rtol=1e-2)


def test_the_drop_is_where_the_curve_has_fallen_so_far():
    curve = utility.Curve(0.6, 0.006, 1.3, floor=0.1)
    for drop in (0.01, 0.05, 0.5):
        assert curve.recall(curve.ratio_at(drop)) == pytest.approx((1 - drop) * 0.6)
    assert curve.ratio_at(0.9) == float('inf')  # The floor itself is a sixth.


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    expected = TRUTH.ratio_at(0.05)
    held, widths = 0, []
    for seed in range(16):
        fit = utility.fit(RATIOS, draw(seed, 0.006), repetitions=40, seed=seed)
        _, low, high = fit.ratio_at(0.05)
        held += low <= expected <= high
        widths.append(high / low)
    # Of 16 at 95 %, fewer than 13 have a chance of 1 in 1,000; of 50 %, 13 or more of 1 in 100.
    assert held >= 13
    assert np.median(widths) < 4


def test_more_scatter_is_less_certain():
    widths = []
    for scatter in (0.001, 0.01):
        _, low, high = utility.fit(RATIOS, draw(3, scatter), repetitions=60).ratio_at(0.05)
        widths.append(high / low)
    assert widths[0] < 1.3 < widths[1]


def test_a_fit_never_rises():
    fit = utility.fit(RATIOS, [0.3, 0.35, 0.31, 0.36, 0.3, 0.33, 0.32], repetitions=20)
    for curve in (fit.curve, *fit.repetitions):
        recalls = [curve.recall(ratio) for ratio in RATIOS]
        assert recalls == sorted(recalls, reverse=True)


@pytest.mark.parametrize(
    'ratios, recalls, floor, match',
    [
        (RATIOS[:4], (0.4, 0.4, 0.3, 0.3), 0.0, 'at least 5 runs'),
        (RATIOS, (0.4,) * 6, 0.0, '7 ratios and 6 recalls'),
        ((0, 0, 0, 0.1, 0.1), (0.4,) * 5, 0.0, 'at least 3 different'),
        ((0, -1, 1, 2, 3), (0.4,) * 5, 0.0, 'at least 0'),
        ((0, 1, 2, 3, float('nan')), (0.4,) * 5, 0.0, 'expected finite'),
        (RATIOS, (1.4,) * 7, 0.0, 'recall of run 0=1.4'),
        (RATIOS, (0.2,) * 7, 0.3, 'no run is above it'),
    ],
)
def test_what_cannot_be_fitted_is_refused(ratios, recalls, floor, match):
    with pytest.raises(ValueError, match=match):
        utility.fit(ratios, recalls, floor)


def test_ratio_of_independent_noise_is_that_of_the_mean(make_plan):
    plan = make_plan(privacy.Gaussian(0.5, 1.6))
    assert utility.equivalent_ratio(plan, SGD) == pytest.approx(1.6 / 8)
    simulated = make_plan(privacy.Gaussian(0.5, 1.6), noise_cohort_size=80)
    assert utility.equivalent_ratio(simulated, SGD) == pytest.approx(1.6 / 80)
    assert utility.equivalent_ratio(make_plan('clip_only'), SGD) == 0
    with pytest.raises(ValueError, match='its noise follows the clip norm'):
        utility.equivalent_ratio(make_plan('adaptive_gaussian'), SGD)


def test_ratio_of_correlated_noise_leaves_as_much_in_the_model(make_plan):
    plan = make_plan(privacy.Bisr(0.5, 1.6, strategy_momentum=0.9), rounds=40)
    ratio = utility.equivalent_ratio(plan, SGD)
    draws = np.random.default_rng(0).standard_normal((40, 4000))
    column = plan.mechanism.strategy.noise(40)
    correlated = [column[t::-1] @ draws[: t + 1] for t in range(40)]

    def left(noises):
        velocity, model, squares = 0.0, 0.0, 0.0
        for noise in noises:
            velocity = 0.9 * velocity + noise
            model = model + velocity
            squares += np.mean(model**2)
        return squares**0.5

    assert left(ratio * draws) == pytest.approx(left(np.array(correlated) * 1.6 / 8), rel=0.03)


@pytest.mark.parametrize('kind', utility_users.KINDS)
def test_users_found_reach_the_target_and_fewer_do_not(kind):
    question = utility_users.Question(2, 30, None, SGD, 0.004, 8.0)
    answer = utility_users.KINDS[kind](question, 256)
    mechanism, _, rest = answer.name.partition(', ')
    sampling, _, option = rest.partition(' of ')

    def epsilon(num_users):
        if sampling == 'min_separation':
            sampler = privacy.MinSeparation()
        elif sampling == 'cyclic_poisson':
            sampler = privacy.CyclicPoisson(int(option))
        else:
            sampler = privacy.Poisson(option)
        made = privacy.MECHANISMS[mechanism](1.0, 1.0)
        if kind == 'correlated':
            made = dataclasses.replace(made, strategy_momentum=0.9)
        plan = privacy.PrivacyPlan(num_users, 256, 2, 30, made, sampler)
        factor = 0.004 / utility.equivalent_ratio(plan, SGD)
        return dataclasses.replace(plan, mechanism=made.scaled(factor)).epsilon()

    assert epsilon(answer.num_users) <= 8.0
    assert epsilon(int(answer.num_users * 0.98)) > 8.0


def test_groups_need_fewer_users_than_slots_and_correlated_noise_fewer_still():
    question = utility_users.Question(2, 100, None, SGD, 0.0014, 8.0)
    users = [fewest(question, 512).num_users for fewest in utility_users.KINDS.values()]
    assert users[0] > 10 * users[1] and users[1] > 1.2 * users[2]
    hopeless = question._replace(ratio=1e-5)
    assert all(f(hopeless, 32).num_users is None for f in utility_users.KINDS.values())


def write_run(path, plan, recall, **training):
    path.mkdir(parents=True)
    config = {
        'task': 'synthetic',
        'plan': plan.to_json(),
        'training': {'server_momentum': 0.9, 'server_lr_schedule': 'constant', **training},
    }
    (path / 'config.json').write_text(json.dumps(config))
    if recall is not None:
        scores = {'trained': {'recall@FAR=0.001': recall}}
        (path / 'evaluation.json').write_text(json.dumps(scores))


@pytest.fixture
def runs(tmp_path, make_plan):
    mechanisms = {
        'none': privacy.ClipOnly(0.5),
        'little': privacy.Gaussian(0.5, 0.4),
        'tree': privacy.Tree(0.5, 2.0),
        'cyclic': privacy.Banded(0.5, 2.0, strategy_momentum=0.9),
    }
    for index, (name, mechanism) in enumerate(mechanisms.items()):
        changes = {'sampling': privacy.CyclicPoisson(4)} if name == 'cyclic' else {}
        plan = make_plan(mechanism, **changes)
        write_run(tmp_path / name, plan, 0.4 - 0.05 * index)
    return tmp_path


def test_finished_runs_are_read_with_their_ratios(runs, make_plan):
    found = utility_runs.read([runs], 'recall@FAR=0.001')
    points = {point.name.rsplit('/', 1)[1]: point for point in found.points}
    assert (found.users_per_virtual_client, found.rounds, found.server) == (2, 16, SGD)
    assert points['none'].ratio == 0 and points['none'].recall == 0.4
    assert points['little'].ratio == pytest.approx(0.4 / 8)
    banded = make_plan(
        privacy.Banded(0.5, 2.0, strategy_momentum=0.9), sampling=privacy.CyclicPoisson(4)
    )
    assert points['cyclic'].ratio == utility.equivalent_ratio(banded, SGD)
    assert utility_runs.read([runs / 'tree'], 'recall@FAR=0.001').points == (points['tree'],)


def test_runs_that_do_not_belong_together_are_refused(runs, make_plan, tmp_path):
    metric = 'recall@FAR=0.001'
    plan = make_plan('clip_only')
    others = {
        'rounds': (make_plan('clip_only', rounds=17), {}, 'rounds=17 is not that of'),
        'clip': (make_plan(privacy.Gaussian(0.25, 1.0)), {}, 'clip_norm=0.25 is not that of'),
        'momentum': (plan, {'server_momentum': 0.5}, 'training='),
    }
    for name, (other, training, match) in others.items():
        path = tmp_path / 'others' / name
        write_run(path, other, 0.4, **training)
        with pytest.raises(ValueError, match=match):
            utility_runs.read([runs / 'none', path], metric)
    write_run(tmp_path / 'unfinished', plan, None)
    with pytest.raises(ValueError, match='not finished'):
        utility_runs.read([tmp_path / 'unfinished'], metric)
    with pytest.raises(ValueError, match="metric='recall': expected one of recall@FAR"):
        utility_runs.read([runs], 'recall')
    with pytest.raises(FileNotFoundError, match='expected a run'):
        utility_runs.read([tmp_path / 'nowhere'], metric)
    (runs / 'sweep').mkdir()
    (runs / 'sweep' / 'config.json').write_text('{"base": {}}')
    with pytest.raises(ValueError, match='sweep: is no run'):
        utility_runs.read([runs], metric)


@pytest.mark.parametrize(
    'mechanism', ['none', 'clip_only', 'gaussian', 'tree', 'banded', 'blt']
)
def test_a_plan_comes_back_from_its_json(make_plan, mechanism):
    plan = make_plan(mechanism)
    assert utility_runs.plan_of(json.loads(json.dumps(plan.to_json()))) == plan


def test_tables_of_other_columns_or_words_are_refused(tmp_path):
    path = tmp_path / 'curve.csv'
    path.write_text('ratio,accuracy\n0,1\n')
    with pytest.raises(ValueError, match='no column recall'):
        utility_runs.read_table(path)
    path.write_text('ratio,recall\n0,0.5\n0.1,good\n')
    with pytest.raises(ValueError, match="line 3: ratio='0.1', recall='good'"):
        utility_runs.read_table(path)
