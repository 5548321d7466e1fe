"""What all tasks share: options, facts, splits, names."""

import dataclasses

import pytest

import tasks
from tasks.shared import base


@dataclasses.dataclass(frozen=True)
class Options:
    count: int = 1
    fraction: float = 0.5
    partial: bool = False
    kind: str = 'a'


def parse(**options):
    return base.parse_options(Options, base.TaskConfig(options=options), 'thing')


def test_options_are_parsed_by_the_type_of_their_default():
    parsed = parse(count='3', fraction='0.25', partial='true', kind='b')
    assert parsed == Options(3, 0.25, True, 'b')
    assert parse() == Options()


@pytest.mark.parametrize('name, text', [('count', '1.5'), ('partial', 'maybe')])
def test_wrong_value(name, text):
    with pytest.raises(ValueError, match=f'option {name}='):
        parse(**{name: text})


def test_unknown_option_lists_the_known():
    with pytest.raises(ValueError, match='has no such option; it has count, fraction'):
        parse(sise='3')


def test_unknown_task_lists_the_known():
    with pytest.raises(ValueError, match='task=.cifar.: expected one of .*synthetic'):
        tasks.build_task('cifar', tasks.TaskConfig())


def test_every_task_can_be_imported():
    import importlib

    for name, module in tasks.TASKS.items():
        imported = importlib.import_module(module)
        assert callable(imported.build) and dataclasses.is_dataclass(imported.Options)
        assert name == imported.NAME


def test_max_examples_per_user_is_checked():
    with pytest.raises(ValueError, match='max_examples_per_user=0'):
        base.TaskConfig(max_examples_per_user=0)


def test_facts():
    right, wrong = base.Fact('writers', 3, 3), base.Fact('images', 9, 10)
    base.check_facts('thing', [right, base.Fact('users', 7)], partial=False)
    base.check_facts('thing', [right, wrong], partial=True)
    with pytest.raises(ValueError, match=r'9 images \(published: 10\).*partial=true') as error:
        base.check_facts('thing', [right, wrong], partial=False)
    assert 'writers' not in str(error.value)


def test_data_dir_must_be_there(tmp_path):
    with pytest.raises(ValueError, match='data_dir=None: task thing needs the files'):
        base.require_data_dir(base.TaskConfig(), 'thing', 'the files')
    with pytest.raises(FileNotFoundError, match='no such directory'):
        config = base.TaskConfig(data_dir=str(tmp_path / 'nowhere'))
        base.require_data_dir(config, 'thing', 'the files')
