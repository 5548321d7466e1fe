"""Documents speak of what is there: names of the code, links, pages; examples are true."""

import doctest
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / 'docs').rglob('*.md'), *ROOT.glob('*.md')])
ROOMS = {path.stem for path in (ROOT / 'dp_fedemb').iterdir() if path.stem[0] != '_'}


def look_up(name):
    """The object of a dotted name below dp_fedemb; raises if there is none."""
    parts = name.split('.')
    found = importlib.import_module('dp_fedemb')
    for index, part in enumerate(parts):
        if not hasattr(found, part):
            importlib.import_module('.'.join(['dp_fedemb', *parts[: index + 1]]))
        found = getattr(found, part)
    return found


def test_names_in_the_architecture_exist():
    text = (ROOT / 'docs' / 'architecture.md').read_text()
    names = {
        name
        for name in re.findall(r'`([a-z_]+(?:\.\w+)*)`', text)
        if name.split('.')[0] in ROOMS
    }
    assert len(names) > 30
    for name in sorted(names):
        look_up(name)


def test_a_name_that_is_gone_is_found():
    with pytest.raises(ImportError):
        look_up('privacy.plan.no_such_name')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r'\]\((?!http|#)([^)#]+)[^)]*\)', page.read_text()):
        assert (page.parent / link).exists(), link


WITH_EXAMPLES = sorted(
    path for path in (ROOT / 'dp_fedemb').rglob('*.py') if '>>> ' in path.read_text()
)


@pytest.mark.parametrize('path', WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_in_docstrings_are_true(path):
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
