"""A continued run states where its seed came from as the run that began it would."""

import pytest

from dp_fedemb.runs import experiment
from dp_fedemb.runs import directory as directory_lib


@pytest.mark.parametrize('seed, given', [(None, False), (0, True), (7, True)])
def test_a_new_run(tmp_path, seed, given):
    directory = directory_lib.RunDirectory(tmp_path)
    assert experiment._seed_was_given(directory, seed, resumed=False) is given


@pytest.mark.parametrize('began_with_one', [True, False])
def test_a_continued_run_without_the_flag(tmp_path, began_with_one):
    directory = directory_lib.RunDirectory(tmp_path)
    directory.write_json('privacy.json', {'seed_given': began_with_one})
    assert experiment._seed_was_given(directory, None, resumed=True) is began_with_one
    assert experiment._seed_was_given(directory, 7, resumed=True)


def test_without_a_statement_the_worse_is_assumed(tmp_path):
    directory = directory_lib.RunDirectory(tmp_path)
    assert experiment._seed_was_given(directory, None, resumed=True)
