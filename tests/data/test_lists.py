"""Lists that people write, in any encoding; names in any spelling."""

import unicodedata

import pytest

from dp_fedemb.data import lists
from dp_fedemb.data import names

LINES = ['train José Müller', '# a comment', '', 'test\tŽofie', 'train bo']
KNOWN = {'José Müller', 'Žofie', 'bo'}


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
@pytest.mark.parametrize(
    'encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'cp1252']
)
def test_encodings(tmp_path, encoding, end):
    path = tmp_path / 'list.txt'
    path.write_bytes(end.join(LINES).encode(encoding))
    assert lists.read_lines(path, KNOWN) == LINES
    path.write_bytes((end.join(LINES) + end).encode(encoding))
    assert lists.read_lines(path) == LINES


@pytest.mark.parametrize(
    'encoding, name',
    [
        ('mac-roman', 'José'),
        ('cp1251', 'Иван'),
        ('shift-jis', '太郎'),
        ('gb18030', '小明'),
        ('euc-kr', '민준'),
        ('cp437', 'Björn'),
        ('koi8-r', 'Ольга'),
    ],
)
def test_an_old_encoding_is_known_by_the_names(tmp_path, encoding, name):
    path = tmp_path / 'list.txt'
    path.write_bytes(f'train {name}\ntest bo\n'.encode(encoding))
    decomposed = unicodedata.normalize('NFD', name)
    assert lists.read_lines(path, {names.normal(decomposed), 'bo'}) == [
        f'train {name}',
        'test bo',
    ]


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes(b'train p\xff1\n')
    assert lists.read_lines(path, {'p\udcff1'}) == ['train p\udcff1']


def test_what_is_no_list(tmp_path):
    path = tmp_path / 'list.txt'
    with pytest.raises(FileNotFoundError, match='list.txt: no such file'):
        lists.read_lines(path)
    with pytest.raises(ValueError, match='expected a text file'):
        lists.read_lines(tmp_path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match='no text in a known encoding'):
        lists.read_lines(path)
