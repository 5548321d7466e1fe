"""docs/audit.md: its tables name what the code checks, its figures are the accountant's."""

import pathlib
import re

import numpy as np
import pytest

from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.auditing import estimators
from dp_fedemb.auditing.mechanism import black_box
from dp_fedemb.auditing.mechanism import clip_checks
from dp_fedemb.auditing.mechanism import cohort_checks
from dp_fedemb.auditing.mechanism import noise_checks

TEXT = (pathlib.Path(__file__).parents[2] / 'docs' / 'audit.md').read_text()


def block(command):
    """What the page says that a command prints."""
    found = re.search(rf'\$ bin/audit\.py {command} .*\n([^`]+)```', TEXT)
    assert found is not None
    return found[1]


@pytest.fixture(scope='module')
def plan():
    """That of the command `noise` of the page."""
    return privacy.PrivacyPlan(3400, 32, 8, 20, privacy.Gaussian(1.0, 0.62))


def test_every_check_of_the_mechanism_is_on_the_page(plan):
    small = privacy.PrivacyPlan(64, 4, 2, 3, privacy.Gaussian(1.0, 0.62))
    runs = [privacy.PrivateRun(small, seed) for seed in (1, 2)]
    found = [
        *noise_checks.run_checks(runs, black_box.Layout(4096)),
        noise_checks.seeds_differ(small, range(2)),
        *clip_checks.run_checks(runs[0], np.random.default_rng(0)),
        *cohort_checks.run_checks(runs),
        *cohort_checks.changed_user(small),
    ]
    printed = [line.strip() for line in block('noise').splitlines()]
    names = [check.name for check in found]
    assert [name for name in names if not any(p.startswith(name) for p in printed)] == []
    end = printed.index('')
    assert end - 1 == len(names)


@pytest.mark.parametrize('rounds', [1, 20])
def test_claims_are_the_accountants(plan, rounds):
    rows = re.findall(rf'^ +{rounds}  .*?  ([\d.]+)  [\d.]+$', block('noise'), re.M)
    assert len(rows) == 4
    claimed = estimators.Claim.of_plan(plan, rounds).epsilon
    assert {f'{claimed:.3f}'} == set(rows)


def test_every_share_is_the_lower_bound_over_the_claim():
    for command in ('noise', 'canaries'):
        for line in re.findall(r'^ .*  [\d.]+$', block(command), re.M):
            lower, claimed, share = map(float, line.split()[-3:])
            assert abs(lower / claimed - share) < 2e-3


def test_nothing_on_the_page_failed():
    assert 'FAILED' not in TEXT and '  ALARM' not in TEXT
    assert f'{checks.LEVEL:g}'.replace('1e-06', '1e-6') in TEXT
