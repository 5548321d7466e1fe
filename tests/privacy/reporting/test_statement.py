"""What a statement says in each situation, and that it says nothing more."""

import json
import math

import numpy as np
import pytest

import dp_fedemb
from dp_fedemb import privacy

SEED = 123456789123456789
GUARANTEE = ('epsilon_user', 'epsilon_user_rdp', 'epsilon_virtual_client', 'delta', 'rho')


def _all_text(statement):
    return json.dumps(statement, allow_nan=False) + privacy.statement_text(statement)


@pytest.fixture
def private(make_plan):
    return privacy.statement(make_plan('gaussian'), noised_weights=47_000)


def test_reports_what_how_to_dp_fy_ml_asks_for(make_plan, private):
    """Ponomareva et al. (2023, arXiv 2303.00654), section 5.3, item by item."""
    plan = make_plan('gaussian')
    # 1. The setting.
    assert private['setting'].startswith('central differential privacy')
    # 2. The definition: data accesses covered, what is released, unit, adjacency.
    assert "training users' images" in private['data_accesses']
    assert any('backbone weights' in item for item in private['released'])
    assert private['unit'].startswith('user')
    assert private['neighboring_relation'] == 'REPLACE_ONE'
    assert 'replaced by any others' in private['neighboring_relation_text']
    # 3. Accounting: kind, assumptions and whether they hold, the guarantee, tuning.
    assert private['accountant'] == 'pld'
    assert private['accountant_version'] == f'dp_fedemb {dp_fedemb.__version__}'
    assert 'cohorts are drawn exactly so' in private['assumptions']
    assert private['epsilon_user'] == privacy.rounded_up(plan.epsilon())
    rdp = plan.epsilon(accountant='rdp')
    assert private['epsilon_user_rdp'] == privacy.rounded_up(rdp)
    other = plan.epsilon(unit='present_absent')
    assert private['epsilon_present_absent'] == privacy.rounded_up(other)
    literature = plan.epsilon(unit='virtual_client')
    assert private['epsilon_virtual_client'] == privacy.rounded_up(literature)
    assert 'not one user' in private['epsilon_virtual_client_note']
    assert private['delta'] == plan.guarantee_delta
    assert any('hyper-parameters' in item for item in private['not_covered'])
    # 4. How to verify it.
    assert private['verify'].startswith('bin/privacy.py epsilon')
    for name, value in {
        'sampler': 'poisson',
        'mechanism': 'gaussian',
        'noise_multiplier': 1.5,
        'clip_norm': 0.5,
        'sensitivity_over_clip': 2.0,
        'sensitivity': 1.0,
        'noise_stddev_on_sum': 0.75,
        'virtual_clients_per_round': 8,
        'users_per_virtual_client': 2,
        'num_users': 1000,
        'rounds_completed': 16,
        'noised_weights': 47_000,
        'sampling_probability': 0.016,
    }.items():
        assert private[name] == value, name


def test_text_of_a_private_run(private):
    text = privacy.statement_text(private)
    epsilon, delta = private['epsilon_user'], private['delta']
    assert (
        f'({epsilon:g}, {privacy.rounded_up(delta):g})-differentially private at the level of'
        in text
    )
    assert 'NOT PRIVATE' not in text and 'SIMULATION' not in text
    assert 'epsilon, virtual client' in text and 'for comparison only' in text
    assert 'the checkpoints, which hold the seed: publish the SavedModel' in text


def test_text_names_a_weak_epsilon(make_plan):
    weak = privacy.statement_text(privacy.statement(make_plan('gaussian', num_users=16)))
    assert 'An epsilon above 10 gives little formal protection.' in weak
    strong = privacy.statement_text(privacy.statement(make_plan('gaussian')))
    assert 'little formal protection' not in strong


@pytest.mark.parametrize('name', ['none', 'clip_only'])
@pytest.mark.parametrize('rounds', [0, 16])
def test_without_noise_nothing_is_claimed(make_plan, name, rounds):
    statement = privacy.statement(make_plan(name), rounds)
    assert not statement['private']
    for field in GUARANTEE:
        assert statement[field] is None, field
    assert statement['verify'] is None
    text = privacy.statement_text(statement)
    assert f'no differential privacy guarantee (mechanism: {name})' in text
    assert text.splitlines()[2].startswith('NOT PRIVATE')
    assert 'epsilon, user' not in text and '-differentially private' not in text


def test_simulation_claims_nothing_for_the_run(make_plan):
    plan = make_plan('gaussian', noise_cohort_size=80)
    statement = privacy.statement(plan)
    assert statement['hypothetical'] and not statement['private']
    for field in GUARANTEE:
        assert statement[field] is None, field
    assert statement['num_users'] == 1000 and statement['virtual_clients_per_round'] == 8
    deployment = statement['deployment']
    assert deployment['num_users'] == 10_000
    assert deployment['virtual_clients_per_round'] == 80
    assert deployment['epsilon_user'] == privacy.rounded_up(plan.epsilon())
    assert deployment['delta'] == pytest.approx(10_000**-1.1)
    text = privacy.statement_text(statement)
    assert 'NOT PRIVATE: this run has no differential privacy guarantee of its own' in text
    assert 'SIMULATION: the noise is that of a deployment with 80 virtual clients' in text
    assert 'The released model is (' not in text


def test_raw_metrics_are_named(make_plan, private):
    raw = privacy.statement(make_plan('gaussian'), raw_metrics=True)
    assert 'training metrics, which this run wrote without noise' in raw['not_covered']
    assert 'training metrics' not in _all_text(private)


def test_seed_from_the_command_line_is_named(make_plan, private):
    given = privacy.statement(make_plan('gaussian'), seed_given=True)
    caveat = given['caveats'][0]
    assert 'command line' in caveat and 'stay secret' in caveat
    assert 'no other run has it' in caveat
    assert 'command line' not in _all_text(private)


def test_seed_itself_is_nowhere(make_plan):
    plan = make_plan('tree')
    observed = privacy.PrivateRun(plan, SEED).observed(16)
    statement = privacy.statement(plan, seed_given=True, observed=observed)
    assert str(SEED) not in _all_text(statement)


@pytest.mark.parametrize('name', sorted(privacy.MECHANISMS))
def test_statement_of_every_mechanism_is_json_and_text(make_plan, name):
    plan = make_plan(name)
    statement = privacy.statement(plan, 5)
    assert json.loads(json.dumps(statement, allow_nan=False)) == statement
    assert statement['rounds_completed'] == 5
    assert '5 of 16 planned' in privacy.statement_text(statement)
    if plan.private:
        assert statement['epsilon_user'] == privacy.rounded_up(plan.epsilon(5))
    if 'adaptive' in name:
        assert any('the clip norm of every' in item for item in statement['released'])


def test_schedule_states_participation_and_rho(make_plan):
    statement = privacy.statement(make_plan('tree'))
    assert statement['participation']['min_separation'] == 63
    assert statement['participation']['max_participations'] == 1
    assert statement['rho'] == make_plan('tree').zcdp_rho()
    text = privacy.statement_text(statement)
    assert 'rho (zCDP), user' in text and 'minimum separation' in text


def test_before_the_first_round_nothing_is_spent(make_plan):
    statement = privacy.statement(make_plan('gaussian'), 0)
    assert statement['epsilon_user'] == 0 and statement['verify'] is None


def test_it_names_algorithm_bits_and_repeats(make_plan, private):
    statement = privacy.statement(
        make_plan('gaussian'),
        algorithm='fedavg',
        noise_bits='ChaCha20, 64 bits a draw',
        repeated_releases=2,
    )
    text = privacy.statement_text(statement)
    for words in ('fedavg', 'ChaCha20, 64 bits a draw', '2 rounds, accounted'):
        assert words in text
    assert (
        'that this statement was not told of' in _all_text(private)
        and 'dp_fedemb' in private['algorithm']
    )


def test_statistical_distance_is_in_delta(make_plan):
    plan = make_plan('gaussian')
    plain = privacy.statement(plan)
    off = privacy.statement(plan, statistical_distance=1e-9)
    grown = (1 + math.exp(plain['epsilon_user'])) * 1e-9
    assert off['delta'] == pytest.approx(plain['delta'] + grown, rel=1e-12)
    assert off['epsilon_user'] == plain['epsilon_user'] and off['private']
    far = privacy.statement(plan, statistical_distance=0.5)
    assert not far['private'] and far['delta'] == 1
    assert privacy.statement_headline(far)[0].startswith('NOT PRIVATE')
    with pytest.raises(ValueError, match='statistical_distance=2: expected a probability'):
        privacy.statement(plan, statistical_distance=2)


@pytest.mark.parametrize('name', ['gaussian', 'adaptive_gaussian', 'tree', 'tree_adaptive'])
def test_repeated_releases_cost(make_plan, name):
    plan = make_plan(name)
    once, again, thrice = (plan.epsilon(repeated_releases=r) for r in (0, 1, 3))
    assert once == plan.epsilon() < again < thrice
    statement = privacy.statement(plan, repeated_releases=1)
    assert statement['epsilon_user'] == privacy.rounded_up(again)
    # All rounds released twice are one Gaussian of the ratio over sqrt(2), which bounds it.
    with pytest.raises(ValueError, match='repeated_releases=-1'):
        plan.epsilon(repeated_releases=-1)


def test_a_repeat_costs_what_simulation_finds(make_plan):
    """One round of two, whose cohort is the same in both of its releases."""
    plan = make_plan(privacy.Gaussian(1.0, 0.8), num_users=16 * 5, rounds=1, delta=1e-2)
    epsilon = plan.epsilon(repeated_releases=1)
    q, generator = 0.2, np.random.default_rng(5)
    joined = generator.random((400_000, 1)) < q
    x = joined + 0.8 * generator.standard_normal((400_000, 2))
    log_n = lambda shift: -np.sum((x - shift) ** 2, axis=1) / (2 * 0.8**2)
    mixture = lambda shift: np.logaddexp(np.log1p(-q) + log_n(0), np.log(q) + log_n(shift))
    loss = mixture(1) - mixture(-1)
    found = np.mean(-np.expm1(np.minimum(epsilon - loss, 0)))
    assert 0.3 * plan.guarantee_delta < found < 1.05 * plan.guarantee_delta
    # Taken for one more round of a cohort of its own it would be too little.
    fresh = np.mean(-np.expm1(np.minimum(plan.epsilon(2) - loss, 0)))
    assert fresh > plan.guarantee_delta


def test_a_weak_seed_is_not_private(make_plan):
    plan = make_plan('gaussian')
    for seed, weak in ((1, True), (2**64 - 1, True), (2**64, False), (2**127 + 5, False)):
        statement = privacy.PrivateRun(plan, seed).statement(4, seed_given=True)
        assert statement['private'] is not weak and statement['weak_seed'] is weak
        headline = privacy.statement_headline(statement)
        assert headline[0].startswith('NOT PRIVATE') is weak
        assert str(seed) not in privacy.statement_text(statement) or seed == 1
        # What the plan would have.
        assert f'({privacy.rounded_up_text(plan.epsilon(4))}, ' in ' '.join(headline)


def test_the_headline_tells_both_relations(private):
    first, second, *_ = privacy.statement_headline(private)
    assert f'({private["epsilon_user"]:g}, ' in first
    assert f'epsilon is {private["epsilon_present_absent"]:g}: nothing of the user' in second


def test_ancestors_are_in_the_headline(make_plan):
    plan = make_plan('gaussian')
    first = privacy.statement(plan, 4)
    ancestors = privacy.ancestors_of_start(first, 'faces of 2019')
    second = privacy.statement(plan, 9, ancestors=ancestors)
    # And of the one after it, both.
    ancestors = privacy.ancestors_of_start(second, 'faces of 2020')
    third = privacy.statement(plan, 2, ancestors=ancestors)
    assert [a['data'] for a in third['ancestors']] == ['faces of 2019', 'faces of 2020']
    assert third['epsilon_user'] == privacy.rounded_up(plan.epsilon(2))
    parts = [s['epsilon_user'] for s in (first, second, third)]
    assert third['epsilon_user_total'] == pytest.approx(sum(parts), abs=1e-3)
    assert third['epsilon_user_total'] >= sum(parts)
    assert third['delta_total'] == pytest.approx(3 * plan.guarantee_delta)
    headline = ' '.join(privacy.statement_headline(third))
    assert f'({third["epsilon_user_total"]:g}, ' in headline
    assert 'faces of 2019' in headline and 'faces of 2020' in headline
    assert third['private']
    assert json.loads(json.dumps(third)) == third


@pytest.mark.parametrize('kind', ['none', 'no statement', 'weak seed', 'virtual client'])
@pytest.mark.parametrize('hops', [1, 2])
def test_an_ancestor_without_epsilon_voids_the_guarantee(make_plan, kind, hops):
    plan = make_plan('gaussian')
    start = {
        'none': privacy.statement(make_plan('none'), 4),
        'no statement': None,
        'weak seed': privacy.statement(plan, 4, weak_seed=True),
        'virtual client': {**privacy.statement(plan, 4), 'unit': 'virtual client'},
    }[kind]
    for _ in range(hops):
        ancestors = privacy.ancestors_of_start(start, 'somebody')
        start = privacy.statement(plan, 4, ancestors=ancestors)
        assert not start['private'] and start['epsilon_user_total'] is None
        assert privacy.statement_headline(start)[0].startswith('NOT PRIVATE: the weights')


def test_a_statement_from_before_ancestors_is_read(make_plan):
    old = privacy.statement(make_plan('gaussian'))
    for name in ('ancestors', 'private_by_itself', 'weak_seed', 'epsilon_user_total'):
        del old[name]
    (ancestor,) = privacy.ancestors_of_start(old, 'old')
    assert ancestor.private and ancestor.epsilon == old['epsilon_user']
    assert privacy.statement_headline(old)[0].startswith('The released model is (')
