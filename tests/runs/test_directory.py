"""Run directories: one configuration each, files whole or absent."""

import pathlib

import pytest

from dp_fedemb import host_error
from dp_fedemb import settings
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import settings as run_settings

CONFIG = {'task': 'synthetic', 'plan': {'rounds': 5, 'mechanism': {'clip_norm': 1.0}}}


def begun(tmp_path, config=CONFIG):
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    directory.begin(config)
    return directory


def test_the_same_configuration_goes_on(tmp_path):
    begun(tmp_path)
    assert begun(tmp_path).read_json('config.json') == CONFIG


def test_tuples_compare_as_they_are_stored(tmp_path):
    begun(tmp_path, {'shape': (1, 2)})
    begun(tmp_path, {'shape': (1, 2)})


@pytest.mark.parametrize(
    'changed, words',
    [
        ({**CONFIG, 'task': 'omniglot'}, "task='synthetic', not 'omniglot'"),
        (
            {**CONFIG, 'plan': {'rounds': 5, 'mechanism': {'clip_norm': 2.0}}},
            'plan.mechanism.clip_norm=1.0, not 2.0',
        ),
        ({**CONFIG, 'new': 1}, 'new=None, not 1'),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, changed, words):
    begun(tmp_path)
    with pytest.raises(ValueError, match=words):
        begun(tmp_path, changed)


def test_a_run_from_before_local_schedules_goes_on(tmp_path):
    def config(**client):
        return {'training': {'client': client}}

    absent = {'training': settings.absent(run_settings.Settings)}
    begun(tmp_path, config(momentum=0.5))
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    directory.check(config(momentum=0.5, local_lr_schedule='constant'), absent)
    with pytest.raises(ValueError, match="local_lr_schedule='constant', not 'cosine'"):
        directory.check(config(momentum=0.5, local_lr_schedule='cosine'), absent)


def test_a_start_is_noted_by_what_it_is_and_not_where(tmp_path):
    names = []
    for name in ('here', 'there'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'saved_model.pb').write_bytes(b'model')
        path = str(tmp_path / name)
        names.append(directory_lib.RunDirectory(tmp_path / 'run').name_of_start(path))
    assert names[0] == names[1] and 'here' not in names[0]
    # A run from when paths were noted goes on.
    before = directory_lib.RunDirectory(tmp_path / 'before')
    before.begin({'pretrained': path})
    assert before.name_of_start(path) == path
    assert before.name_of_start(str(tmp_path / 'here')) == names[0]


def test_foreign_directories_are_left_alone(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'thesis.tex').write_text('dear')
    with pytest.raises(FileExistsError, match='holds no run'):
        begun(tmp_path)
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['thesis.tex']
    (tmp_path / 'file').write_text('')
    with pytest.raises(NotADirectoryError, match='is a file'):
        directory_lib.RunDirectory(tmp_path / 'file').begin(CONFIG)


def test_broken_configuration(tmp_path):
    directory = begun(tmp_path)
    (directory.path / 'config.json').write_text('{"task"')
    with pytest.raises(ValueError, match='damaged'):
        begun(tmp_path)


def test_check_writes_nothing(tmp_path):
    directory_lib.RunDirectory(tmp_path / 'run').check(CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_model_is_whole_and_of_a_known_round(tmp_path):
    directory = begun(tmp_path)
    directory.secrets.mkdir()
    assert directory.model_round() is None

    def write(text):
        def into(draft):
            (pathlib.Path(draft) / 'saved_model.pb').write_text(text)

        return into

    def fail(draft):
        raise RuntimeError('disk full')

    directory.write_model(1, write('one'))
    with pytest.raises(RuntimeError):
        directory.write_model(2, fail)
    assert (directory.saved_model / 'saved_model.pb').read_text() == 'one'
    assert directory.model_round() == 1
    directory.write_model(2, write('two'))
    assert (directory.saved_model / 'saved_model.pb').read_text() == 'two'
    assert directory.model_round() == 2
    assert {path.name for path in directory.path.iterdir()} == {
        'config.json',
        'checkpoints',
        'saved_model',
    }


def test_what_a_kill_in_the_first_write_left_is_no_other_program(tmp_path):
    directory = directory_lib.RunDirectory(tmp_path / 'run')
    directory.path.mkdir()
    (directory.path / '.config.json.partial-0123abcd').write_text('{"ta')
    directory.begin(CONFIG)
    assert [path.name for path in directory.path.iterdir()] == ['config.json']


def test_secrets_that_a_copy_has_opened_are_closed(tmp_path, caplog):
    directory = begun(tmp_path)
    directory.secrets.mkdir(0o700)
    directory.begin(CONFIG)
    assert caplog.text == ''
    directory.secrets.chmod(0o755)
    directory.begin(CONFIG)
    assert directory.secrets.stat().st_mode & 0o777 == 0o700
    assert 'others could enter it' in caplog.text


def test_one_process_at_a_time(tmp_path):
    directory = begun(tmp_path)
    with directory.locked():
        with pytest.raises(host_error.HostError, match='another process is writing there'):
            with directory.locked():
                pass
    with directory.locked():
        pass


def test_another_name_of_a_directory_is_no_way_around_its_lock(tmp_path, monkeypatch):
    directory = begun(tmp_path)
    (tmp_path / 'link').symlink_to(directory.path)
    monkeypatch.chdir(directory.path.parent)
    with directory.locked():
        for name in (tmp_path / 'link', directory.path.name, f'./{directory.path.name}/.'):
            other = directory_lib.RunDirectory(name)
            with pytest.raises(host_error.HostError, match='another process'), other.locked():
                pass
    with directory_lib.RunDirectory(tmp_path / 'link').locked():
        pass


def test_a_home_is_found_as_programs_get_it_from_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert directory_lib.RunDirectory('~/run').path == tmp_path / 'run'
