"""What runs spend is in the ledger of their users before anything is released."""

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import privacy
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import releases as releases_lib


class Killed(BaseException):
    """As a kill, but that it can be caught."""


def own_store(tmp_path):
    generator = np.random.default_rng(2)
    with data.UserStoreWriter(tmp_path / 'store', (4, 4, 1)) as writer:
        for user in range(12):
            writer.add_user(generator.integers(0, 256, (3, 4, 4, 1), np.uint8), [user] * 3)
    return data.UserStore.open(tmp_path / 'store')


def test_every_run_is_in_the_ledger_of_its_users(make_experiment, tmp_path):
    store = own_store(tmp_path)
    experiment = make_experiment(train=store)
    for name in ('one', 'two'):
        experiment.run(tmp_path / name)
    found = ledger.read(store.path)
    assert found.problems == () and len(found.latest()) == 2
    one = privacy.rounded_up(experiment.plan.epsilon())
    assert found.spent()[0] == pytest.approx(2 * one)
    # Finished: the same call again spends nothing.
    experiment.run(tmp_path / 'two')
    assert ledger.read(store.path) == found


def test_the_ledger_knows_before_anything_is_released(make_experiment, tmp_path, monkeypatch):
    store = own_store(tmp_path)

    def killed(self, rows):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(releases_lib.Releases, 'append', killed)
        with pytest.raises(Killed):
            make_experiment(train=store).run(tmp_path / 'run')
    (entry,) = ledger.read(store.path).latest().values()
    assert entry.rounds >= 1 and entry.epsilon > 0


def test_a_budget_is_not_overspent(make_experiment, tmp_path):
    store = own_store(tmp_path)
    plan = make_experiment().plan
    budget = 1.5 * plan.epsilon()
    make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'one')
    with pytest.raises(ValueError, match='budget_epsilon'):
        make_experiment(train=store, budget_epsilon=budget).run(tmp_path / 'two')
    assert not (tmp_path / 'two').exists()
    assert len(ledger.read(store.path).latest()) == 1
