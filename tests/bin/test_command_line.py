"""Files of flags are read once and with an end, and what replaces a value says so."""

import pathlib
import sys

from absl import flags
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'bin'))

from flags import command_line


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Function from words and texts of files to a command line, read in their directory."""
    values = flags.FlagValues()
    flags.DEFINE_integer('rounds', 1, '', flag_values=values)
    flags.DEFINE_float('rate', 1.0, '', flag_values=values)
    flags.DEFINE_integer('seed', None, '', flag_values=values)
    flags.DEFINE_bool('loud', False, '', flag_values=values)
    flags.DEFINE_multi_string('task_option', [], '', flag_values=values)
    flags.DEFINE_multi_string('vary', [], '', flag_values=values)
    monkeypatch.setattr(command_line.flags, 'FLAGS', values)
    monkeypatch.chdir(tmp_path)

    def call(*words, **texts):
        for name, text in texts.items():
            pathlib.Path(name).write_bytes(text.encode())
        return command_line.CommandLine(words)

    return call


def test_files_stand_in_their_place(read):
    line = read(
        'first',
        '--flagfile=a',
        '--rate',
        '2',
        '--',
        '--flagfile=c',
        a='# why\n\n--rounds=3\r\n  --flagfile=b\n--noloud\n',
        b='\ufeff--rate=1e-3\n// more\n-loud\n',
    )
    words = ['first', '--rounds=3', '--rate=1e-3', '-loud', '--noloud', '--rate=2']
    assert line.words == [*words, '--', '--flagfile=c']
    # What follows a file, or the line that names it, is meant to change it.
    assert line.replaced == []


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--rounds=3', '--rounds=4'], ["'4' replaces '3'"]),
        (['--rounds', '3', '-rounds=4', '--rounds=4'], ["'4' replaces '3'"]),
        (['--rounds=3', '--flagfile=a'], ["'5' (in", "replaces '3'"]),
        (['--flagfile=a', '--flagfile=b'], ["'6' (in", "replaces '5'"]),
        (['--flagfile=a', '--rounds=6', '--rounds=7'], ["'7' replaces '6'"]),
        (['--noloud', '--loud'], ["'true' replaces 'false'"]),
        (['--loud=false', '--rounds=3', '--loud'], ["loud is given twice: 'true'"]),
        (['--task_option=a=1', '--task_option=a=2'], ["task_option=a is given twice: '2'"]),
        (['--seed=31', '--seed=32'], ['seed is given twice; the last one counts']),
    ],
)
def test_what_replaces_a_value_says_so(read, words, said):
    replaced = read(*words, a='--rounds=5\n', b='--rounds=6\n').replaced
    assert len(replaced) == 1 and all(part in replaced[0] for part in said), replaced
    assert '31' not in replaced[0]


@pytest.mark.parametrize(
    'words',
    [
        ['--rounds=3', '--rounds=3'],
        ['--flagfile=a', '--rounds=3'],
        ['--task_option=a=1', '--task_option=b=2'],
        ['--vary=a=1', '--vary=a=2'],
        ['--rounds=3', '--', '--rounds=4'],
    ],
)
def test_what_is_meant_is_silent(read, words):
    assert read(*words, a='--rounds=5\n').replaced == []


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('--flagfile=a', 'contains itself'),
        ('--flagfile=./a', 'contains itself'),
        ('--flagfile=/nowhere', '/nowhere'),
        ('--flagfile=/dev/zero', 'no such file'),
        ('--flagfile=/', 'no such file'),
        ('--flagfile=/proc/kmsg', 'no such file'),
        ('', "flagfile='a': no such file, or none with anything to read"),
        ('--flagfile=', 'no such file'),
        ('--flagfile', 'no such file'),
        ('rounds=3', "line 1 is 'rounds=3'"),
        ('# one\n--\n--rounds=3', "line 2 is '--'"),
        ('--rounds=3\n' + 2**20 * '#', 'more than 1,048,576'),
        ('--rounds=1_000', "rounds: '1_000'"),
        ('--rounds=\u0663', 'plain digits'),
        ('--rate= 1', 'plain digits'),
        ('--seed=4_2', 'seed: a number that'),
    ],
)
def test_a_wrong_file_is_refused(read, text, said):
    with pytest.raises(ValueError) as caught:
        read('--flagfile=a', a=text)
    assert said in str(caught.value) and '\n' not in str(caught.value)
    assert '4_2' not in str(caught.value)


@pytest.mark.parametrize('times', [1, 2])
def test_files_that_name_others_have_an_end(read, times):
    """A million lines of twenty files, and a chain deeper than Python goes."""
    texts = {
        f'a{i}': times * f'--flagfile=a{i + 1}\n' for i in range(2000 if times == 1 else 20)
    }
    last = {f'a{len(texts)}': '--rounds=3\n'}
    read(**texts, **last)
    with pytest.raises(ValueError, match='is read after 100 others'):
        read('--flagfile=a0')
    assert (
        read('--flagfile=a1950' if times == 1 else '--flagfile=a15').words[-1] == '--rounds=3'
    )


def test_no_text_is_refused(read, tmp_path):
    (tmp_path / 'a').write_bytes(b'--rounds=\xff')
    with pytest.raises(ValueError, match="flagfile='a': no text in UTF-8"):
        read('--flagfile=a')
