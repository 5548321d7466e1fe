"""A finished run: its plan is read back, its statement checked, its model attacked."""

import json

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.auditing import finished
from dp_fedemb.auditing import report


@pytest.mark.parametrize('name', ['none', 'clip_only', *privacy.MECHANISMS])
def test_a_plan_is_read_as_it_was_written(name, make_plan, tmp_path):
    plan = make_plan(name, rounds=6)
    (tmp_path / 'config.json').write_text(json.dumps({'plan': plan.to_json()}))
    assert finished.read_plan(tmp_path) == plan


@pytest.mark.parametrize('content', [None, '{', '[]', '{}', '{"plan": {"mechanism": 3}}'])
def test_what_is_no_run_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / 'config.json').write_text(content)
    with pytest.raises(ValueError, match='give the directory of a run'):
        finished.read_plan(tmp_path)


def test_a_statement_that_claims_less_than_its_plan_costs_fails(make_plan, tmp_path):
    plan = make_plan('gaussian', rounds=6)
    stated = privacy.statement(plan, 4)
    path = tmp_path / 'privacy.json'
    path.write_text(json.dumps(stated))
    assert not finished.statement_checks(tmp_path, plan)[0].failed
    path.write_text(json.dumps({**stated, 'epsilon_user': 0.9 * stated['epsilon_user']}))
    assert finished.statement_checks(tmp_path, plan)[0].failed
    path.write_text('{')
    with pytest.raises(ValueError, match='give the directory of a run'):
        finished.statement_checks(tmp_path, plan)


def test_a_model_that_knows_its_users_is_found_out(people):
    """One that maps the images of members to a point each, and those of others anywhere."""
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((6 * 6, 8)).astype(np.float32)

    def knows(images):
        flat = images.reshape(len(images), -1).astype(np.float32)
        # Images of one user are alike; coarse steps make them the same.
        return np.rint((flat - 127) @ directions / 4000) + 1e-3

    def knows_nothing(images):
        return generator.standard_normal((len(images), 8)).astype(np.float32)

    rows, members, others = finished.attack_model(knows_nothing, people, people, 5, 60)
    assert members == 60 and others == 40
    assert all(abs(row['auc'] - 0.5) < 0.2 and row['bound'] is None for row in rows)

    def remembers(images):
        calls.append(len(images))
        # The reference is asked first, then members with those left out.
        if len(calls) == 2:
            return knows(images)
        return knows_nothing(images)

    calls = []
    rows, *_ = finished.attack_model(remembers, people, people, 5, 60)
    assert max(row['auc'] for row in rows) > 0.8
    text = report.membership_table([{'label': 'the model', **row} for row in rows]).body()
    assert 'separation' in text and ' - ' in text


def test_too_few_people_are_refused(people):
    with pytest.raises(ValueError, match='at least 16'):
        finished.attack_model(lambda images: images, people, people, 5, 8)
