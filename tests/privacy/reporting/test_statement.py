"""What a statement says in each situation, and that it says nothing more."""

import json

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
