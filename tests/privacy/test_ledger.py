"""The ledger of a store: what is in it adds up, and what is wrong with it is said."""

import dataclasses
import json
import math
import multiprocessing

import pytest

from dp_fedemb import privacy
from dp_fedemb.privacy import budget
from dp_fedemb.privacy import ledger


@pytest.fixture
def plan(make_plan):
    return make_plan('gaussian')


def entry(plan, run, rounds, **changes):
    statement = privacy.statement(plan, rounds)
    made = ledger.entry_of(statement, plan, run, f'/runs/{run}', data='f00d')
    return dataclasses.replace(made, **changes)


def test_a_store_without_a_ledger_has_spent_nothing(tmp_path):
    found = ledger.read(tmp_path)
    assert found == ledger.Ledger((), ())
    assert found.spent() == (0, 0) and found.reserved() == 0


def test_runs_add_up_and_one_that_goes_on_counts_once(tmp_path, plan):
    for run, rounds in (('a', 3), ('b', 5), ('a', 7), ('a', 16)):
        ledger.append(tmp_path, entry(plan, run, rounds))
    found = ledger.read(tmp_path)
    assert found.problems == () and len(found.entries) == 4
    assert [e.rounds for e in found.latest().values()] == [16, 5]
    epsilon = privacy.rounded_up(plan.epsilon()) + privacy.rounded_up(plan.epsilon(5))
    assert found.spent() == pytest.approx((epsilon, 2 * plan.guarantee_delta))
    assert found.spent(without='a')[0] == privacy.rounded_up(plan.epsilon(5))
    left = privacy.rounded_up(plan.epsilon()) - privacy.rounded_up(plan.epsilon(5))
    assert found.reserved() == pytest.approx(left)
    assert found.entries[1].data == 'f00d' and found.entries[1].plan == plan.to_json()


def test_a_run_that_begins_anew_under_its_name_does_not_get_cheaper(tmp_path, plan):
    ledger.append(tmp_path, entry(plan, 'a', 9))
    ledger.append(tmp_path, entry(plan, 'a', 1))
    assert ledger.read(tmp_path).spent()[0] == privacy.rounded_up(plan.epsilon(9))


@pytest.mark.parametrize('facts', [{'weak_seed': True}, {}])
def test_what_is_not_private_costs_everything(tmp_path, plan, make_plan, facts):
    plan = plan if facts else make_plan('clip_only')
    statement = privacy.statement(plan, 2, **facts)
    ledger.append(tmp_path, ledger.entry_of(statement, plan, 'a', '/runs/a'))
    assert ledger.read(tmp_path).spent()[0] == math.inf
    with pytest.raises(ValueError, match='cost inf'):
        budget.check(tmp_path, 1e9, plan)


def test_the_budget_is_kept_and_refused_in_one_line(tmp_path, plan):
    own = privacy.rounded_up(plan.epsilon())
    budget.check(tmp_path, own, plan)
    ledger.append(tmp_path, entry(plan, 'a', 16))
    with pytest.raises(ValueError) as error:
        budget.check(tmp_path, 1.5 * own, plan)
    message = str(error.value)
    assert message.startswith('budget_epsilon=') and '\n' not in message
    assert 'privacy_ledger.json' in message and 'target_epsilon' in message
    budget.check(tmp_path, 2 * own + 1e-9, plan)
    # It goes on: its own entry is not counted twice.
    budget.check(tmp_path, own + 1e-9, plan, run='a')
    with pytest.raises(ValueError, match='budget_epsilon=-1'):
        budget.check(tmp_path, -1, plan)


def test_what_a_run_means_to_spend_is_kept_for_it(tmp_path, plan):
    own = privacy.rounded_up(plan.epsilon())
    ledger.append(tmp_path, entry(plan, 'a', 1))
    with pytest.raises(ValueError, match='unfinished runs mean to spend'):
        budget.check(tmp_path, 1.9 * own, plan)


def _begin(directory, plan, run, most):
    statement = privacy.statement(plan, 0)
    try:
        budget.begin(directory, ledger.entry_of(statement, plan, run, run), most, plan=plan)
    except ValueError:
        return False
    return True


def test_of_runs_that_begin_at_once_only_one_gets_the_rest(tmp_path, plan):
    most = 1.5 * plan.epsilon()
    with multiprocessing.get_context('fork').Pool(4) as pool:
        got = pool.starmap(_begin, [(tmp_path, plan, f'run {i}', most) for i in range(8)])
    assert sum(got) == 1
    assert len(ledger.read(tmp_path).entries) == 1


def test_appending_at_once_loses_nothing(tmp_path, plan):
    one = entry(plan, 'a', 1)
    with multiprocessing.get_context('fork').Pool(4) as pool:
        pool.starmap(ledger.append, [(tmp_path, one)] * 24)
    found = ledger.read(tmp_path)
    assert len(found.entries) == 24 and found.problems == ()


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content['entries'])
    path.write_text(json.dumps(content))


EDITS = {
    'a smaller epsilon': lambda entries: entries[1]['entry'].update(epsilon=0.01),
    'an entry less': lambda entries: entries.pop(1),
    'the last one less': lambda entries: entries.pop(),
    'all but one': lambda entries: entries.__delitem__(slice(1, None)),
    'another order': lambda entries: entries.reverse(),
    'one twice': lambda entries: entries.insert(1, entries[0]),
    'no entry': lambda entries: entries.insert(0, {'note': 'free'}),
}


@pytest.mark.parametrize('name', EDITS)
def test_an_edited_ledger_is_found(tmp_path, plan, name):
    for run in 'abc':
        ledger.append(tmp_path, entry(plan, run, 4))
    assert ledger.read(tmp_path).problems == ()
    _edit(tmp_path / ledger.LEDGER, EDITS[name])
    assert ledger.read(tmp_path).problems
    with pytest.raises(ValueError, match='is not as it was written'):
        budget.check(tmp_path, 1e6, plan)


@pytest.mark.parametrize(
    'harm, words',
    [
        (lambda path: path.unlink(), 'the ledger is lost: it had 2 entries'),
        (lambda path: path.write_text(path.read_text()[:200]), 'cannot be read'),
        (lambda path: path.write_text(''), 'cannot be read'),
        (lambda path: path.with_suffix('.head').unlink(), 'head is missing'),
    ],
)
def test_a_lost_or_torn_ledger_is_said_for_ever(tmp_path, plan, harm, words):
    for run in 'ab':
        ledger.append(tmp_path, entry(plan, run, 4))
    harm(tmp_path / ledger.LEDGER)
    assert words in '; '.join(ledger.read(tmp_path).problems)
    # A run that ends is entered all the same, and what it found stays.
    ledger.append(tmp_path, entry(plan, 'c', 4))
    ledger.append(tmp_path, entry(plan, 'd', 4))
    found = ledger.read(tmp_path)
    assert words in '; '.join(found.problems) and len(found.problems) == 1
    assert [e.run for e in found.entries][-2:] == ['c', 'd']
    with pytest.raises(ValueError, match='nobody can tell what is left'):
        budget.check(tmp_path, 1e6, plan)


def _documents(directory):
    return {
        name: json.loads((directory / name).read_text())
        for name in (ledger.LEDGER, ledger.HEAD)
    }


def test_any_value_may_be_wrong(tmp_path, plan, mutations):
    ledger.append(tmp_path, entry(plan, 'a', 4))
    whole = _documents(tmp_path)
    honest, tried = ledger.read(tmp_path).spent(), 0
    for name, document in whole.items():
        for content in mutations.damaged_texts(document):
            (tmp_path / name).write_bytes(content)
            found = ledger.read(tmp_path)
            found.latest(), found.spent(), found.reserved()
            assert all('\n' not in each and len(each) < 400 for each in found.problems)
            tried += 1
            if not found.problems:
                # As it was, but for another encoding or what stands for nothing.
                assert found.spent() == honest
                continue
            with pytest.raises(ValueError, match='is not as it was written') as error:
                budget.check(tmp_path, 1e6, plan)
            assert '\n' not in str(error.value)
            if tried % 20 == 0:
                ledger.append(tmp_path, entry(plan, 'c', 4))
                added = ledger.read(tmp_path)
                assert added.entries[-1].run == 'c' and added.problems
                (tmp_path / f'{ledger.LEDGER}.damaged').unlink(missing_ok=True)
        for each, document in whole.items():
            (tmp_path / each).write_text(json.dumps(document))
    assert tried > 300 and ledger.read(tmp_path).problems == ()


def test_doubled_and_endless_entries(tmp_path, plan):
    ledger.append(tmp_path, entry(plan, 'a', 4))
    path = tmp_path / ledger.LEDGER
    text = path.read_text()
    # Of two values of one name the last counts; here it is none.
    path.write_text(text.rstrip()[:-1] + ', "entries": []}')
    assert ledger.read(tmp_path).problems == ('the ledger is lost: it had 1 entries',)
    (one,) = json.loads(text)['entries']
    path.write_text(json.dumps({'entries': 300 * [one]}))
    found = ledger.read(tmp_path)
    assert '280 more of these' in '; '.join(found.problems) and len(found.problems) == 21
    for _ in range(3):
        ledger.append(tmp_path, entry(plan, 'b', 4))
    # What is noted is not noted again.
    assert not ledger.read(tmp_path).entries[-1].note
    with open(path, 'r+b') as file:
        file.truncate(10**9)
    assert 'more than any has' in '; '.join(ledger.read(tmp_path).problems)


def test_an_entry_that_is_none_hides_no_later_one(tmp_path, plan):
    for run in 'abc':
        ledger.append(tmp_path, entry(plan, run, 4))
    _edit(tmp_path / ledger.LEDGER, lambda entries: entries[0]['entry'].update(epsilon='0'))
    found = ledger.read(tmp_path)
    assert [each.run for each in found.entries] == ['b', 'c'] and found.problems


def test_a_writer_that_is_stopped_between_the_files_leaves_a_good_ledger(
    tmp_path, plan, monkeypatch
):
    ledger.append(tmp_path, entry(plan, 'a', 4))
    write = ledger.json_files.write

    def stop_before_head(path, value):
        if path.name == ledger.HEAD:
            raise KeyboardInterrupt
        write(path, value)

    monkeypatch.setattr(ledger.json_files, 'write', stop_before_head)
    with pytest.raises(KeyboardInterrupt):
        ledger.append(tmp_path, entry(plan, 'b', 4))
    monkeypatch.undo()
    assert ledger.read(tmp_path).problems == ()
    ledger.append(tmp_path, entry(plan, 'c', 4))
    found = ledger.read(tmp_path)
    assert found.problems == () and len(found.entries) == 3


def test_a_store_that_is_not_there_is_refused(tmp_path, plan):
    with pytest.raises(FileNotFoundError, match='expected that of a store'):
        ledger.append(tmp_path / 'nowhere', entry(plan, 'a', 1))
