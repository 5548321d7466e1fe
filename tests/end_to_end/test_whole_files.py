"""What is written outside of runs appears whole: killed anywhere, old or new, never half."""

import ast
import pathlib

from matplotlib import figure as figure_lib
import numpy as np
import pytest

from dp_fedemb import configured_directory
from dp_fedemb import json_files
from dp_fedemb.auditing import report as audit_report
from dp_fedemb.evaluation.figures import drawing
from dp_fedemb.gallery import index_file
from dp_fedemb.privacy.reporting import extrapolation_figure

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Methods of paths, figures and NumPy that write a file at once.
_WRITERS = ('write_text', 'write_bytes', 'savefig', 'save', 'savez')
# Functions that are given the path of a draft, by file; and logs, which have no half.
_INTO_DRAFTS = {
    'dp_fedemb/configured_directory.py': ('write_text',),
    'dp_fedemb/data/images/conversion.py': ('convert', '__init__'),
    'dp_fedemb/data/store_format.py': ('write_names',),
    'dp_fedemb/engines/worker_guard.py': ('isolate',),
    'dp_fedemb/evaluation/report/tensorboard.py': ('write',),
    'dp_fedemb/export/onnx_file.py': ('write',),
    'dp_fedemb/export/tflite.py': ('_write',),
    'dp_fedemb/tuning/running.py': ('_start',),
}


def picture(height):
    drawn = figure_lib.Figure(figsize=(1, height))
    drawn.subplots().plot([0, height])
    return drawn


def index(number):
    states = {f'{number}.png': index_file.Picture((number, 0, 0), 'ab')}
    return index_file.Index('/photos', 'model', {}, states, np.full((1, 2), number, np.float32))


# Name -> function that writes version 1 or 2 into a folder.
WRITERS = {
    'figure of a plan': lambda at, n: extrapolation_figure.save(picture(n), f'{at}/a.png'),
    'figures': lambda at, n: drawing.save({'a': picture(n)}, at),
    'index': lambda at, n: index_file.write(at / 'photos.index', index(n)),
    'audit': lambda at, n: audit_report.write(at, 'noise', {'version': n}),
    'JSON': lambda at, n: json_files.write(at / 'a.json', {'version': n}),
    'table': lambda at, n: configured_directory.ConfiguredDirectory(at).write_text(
        'table.csv', f'{n}\n' * 100
    ),
}


def seen(folder):
    """What a reader finds, by name; drafts are none of it."""
    found = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        if '.partial-' not in name and not path.is_dir():
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize('name', WRITERS)
def test_killed_at_every_file_operation(name, tmp_path, in_fork, file_shim):
    write, folder = WRITERS[name], tmp_path / 'folder'
    folder.mkdir()
    write(folder, 1)
    old = seen(folder)
    with file_shim.Shim(folder).installed() as shim:
        write(folder, 2)
    new = seen(folder)
    assert old != new and shim.count > 3
    write(folder, 1)
    states = set()
    for number in range(1, shim.count + 1):

        def until_killed(number=number):
            with file_shim.Shim(folder, number).installed():
                write(folder, 2)

        assert in_fork(until_killed) == file_shim.KILLED, number
        found = seen(folder)
        assert found in (old, new), f'half of a file after operation {number}'
        states.add(found == new)
        if found == new:
            break
    write(folder, 2)
    assert seen(folder) == new
    # Nothing of the killed stays once a writer has come to its end.
    assert not [path for path in folder.rglob('*') if '.partial-' in path.name]
    assert False in states


def writes_at_once(call):
    """Whether a call writes a file at its place, and not into a draft."""
    text = ast.unparse(call)
    if 'draft' in text or 'stream' in text:
        return False
    if isinstance(call.func, ast.Name):
        mode = ast.unparse(call.args[1]) if len(call.args) > 1 else ''
        return call.func.id == 'open' and bool(set(mode) & set('wax+'))
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _WRITERS:
        return False
    owner = ast.unparse(call.func.value)
    if call.func.attr == 'save':
        return owner == 'np'
    # Those of `files` and of directories take a path, or a name, and the content.
    return len(call.args) < 2 and 'buffer' not in text


def raw_writes(path):
    """(function, line, text) of calls that write a file at its place."""
    found = []

    def visit(node, function):
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call) and writes_at_once(node):
            found.append((function, node.lineno, ast.unparse(node)[:80]))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(path.read_text()), '')
    return found


def test_nothing_is_written_at_its_place():
    wrong = []
    for folder in ('dp_fedemb', 'bin', 'tasks'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            name = str(path.relative_to(ROOT))
            if name == 'dp_fedemb/files.py':
                continue
            allowed = _INTO_DRAFTS.get(name, ())
            wrong += [(name, *call) for call in raw_writes(path) if call[0] not in allowed]
    assert not wrong, '\n'.join(map(str, wrong))
