"""The house: the order of the rooms, the build file, and what is imported from elsewhere."""

import ast
import pathlib
import re
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# From the ground up: a room imports those before it and none after it. Rooms of one line
# do not know each other.
ROOMS = (
    (
        'version',
        'validate',
        'settings',
        'tables',
        'randomness',
        'drafts',
        'pathnames',
        'files',
        'host_error',
        'json_files',
        'last_words',
        'progress',
        'environment',
        'known_names',
    ),
    ('configured_directory',),
    ('privacy',),
    ('data',),
    ('models',),
    ('evaluation',),
    ('aggregation',),
    ('learning',),
    ('pretraining',),
    ('engines',),
    ('gallery',),
    ('export',),
    ('runs',),
    ('auditing', 'tuning'),
)
STOREY = {room: storey for storey, rooms in enumerate(ROOMS) for room in rooms}
# Distribution -> what it is imported as, where that differs.
IMPORTED_AS = {
    'absl-py': 'absl',
    'dp-accounting': 'dp_accounting',
    'grpcio': 'grpc',
    'pillow': 'PIL',
    'scikit-learn': 'sklearn',
    'tensorflow-datasets': 'tensorflow_datasets',
    'tensorflow-federated': 'tensorflow_federated',
    'tensorflow-privacy': 'tensorflow_privacy',
}
SOURCES = sorted(
    path for folder in ('dp_fedemb', 'tasks', 'bin') for path in (ROOT / folder).rglob('*.py')
)


def imports(path):
    """Returns every module that a file imports, wherever in it, under names in full."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: a relative import'
            found.update(f'{node.module}.{alias.name}' for alias in node.names)
    return found


def module(path):
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def room(name):
    """Room of a module of the library; the package's own __init__ is a door, not a room."""
    parts = name.split('.')
    return parts[1] if parts[0] == 'dp_fedemb' and len(parts) > 1 else None


def ours(name):
    """The module of ours that an imported name is or is in; None if there is none."""
    while name:
        path = ROOT.joinpath(*name.split('.'))
        if path.with_suffix('.py').exists() or (path / '__init__.py').exists():
            return name
        name = name.rpartition('.')[0]
    return None


def test_every_room_has_its_storey():
    present = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / 'dp_fedemb').iterdir()
        if path.suffix == '.py' or (path / '__init__.py').exists()
    }
    assert present - {'__init__'} == set(STOREY)


@pytest.mark.parametrize('top', ['dp_fedemb', 'tasks', 'bin'])
def test_arrows_point_down(top):
    """bin -> tasks -> dp_fedemb, and inside the library from later rooms to earlier ones."""
    may = {'dp_fedemb': {'dp_fedemb'}, 'tasks': {'dp_fedemb', 'tasks'}}.get(
        top, {'dp_fedemb', 'tasks', 'bin'}
    )
    up = []
    for path in SOURCES:
        name = module(path)
        if name.split('.')[0] != top:
            continue
        for imported in filter(None, map(ours, imports(path))):
            if imported.split('.')[0] not in may:
                up.append(f'{name} imports {imported}')
            there, here = room(imported), room(name)
            if there is None or here is None or there == here:
                continue
            if STOREY[there] >= STOREY[here] > 0 or (STOREY[here] == 0 and STOREY[there] > 0):
                up.append(f'{name} imports {imported}')
    assert up == []


def test_no_circles():
    """Between modules, imports inside functions and those for types included."""
    arrows = {}
    for path in SOURCES:
        name = module(path)
        targets = set(filter(None, map(ours, imports(path)))) - {name}
        if path.name == '__init__.py':
            # A package's door names what is behind it, which comes in by the modules.
            targets = {target for target in targets if not target.startswith(f'{name}.')}
        arrows[name] = targets
    done, walking = set(), []

    def walk(name):
        if name in walking:
            pytest.fail(' -> '.join([*walking[walking.index(name) :], name]))
        if name in done:
            return
        walking.append(name)
        for target in sorted(arrows.get(name, ())):
            walk(target)
        done.add(walking.pop())

    for name in sorted(arrows):
        walk(name)


def test_packages_say_what_they_are():
    for path in SOURCES:
        text = ast.get_docstring(ast.parse(path.read_text())) or ''
        assert len(text.split()) > 2, f'{path.relative_to(ROOT)}: {text!r} says nothing'


def test_every_source_is_read_in_one_sitting():
    lengths = {str(path.relative_to(ROOT)): path.read_text().count('\n') for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > 300} == {}


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    declared = {
        IMPORTED_AS.get(name, name)
        for name in (re.match(r'[\w-]+', line)[0] for line in project['dependencies'])
    }
    optional = [line for lines in project['optional-dependencies'].values() for line in lines]
    known = (
        declared
        | {re.match(r'[\w-]+', line)[0] for line in optional}
        | set(sys.stdlib_module_names)
        | {'dp_fedemb', 'tasks', 'flags', 'audit_commands', 'privacy_commands'}
    )
    # Benchmarks import each other by name, and the library that they compare with.
    known |= {path.stem for path in (ROOT / 'bin' / 'benchmarks').rglob('*.py')}
    known |= {'google', 'pfl', 'torch'}
    used = {
        name.split('.')[0]: path.relative_to(ROOT) for path in SOURCES for name in imports(path)
    }
    assert {name: path for name, path in used.items() if name not in known} == {}
    assert declared - set(used) == set()


def test_declarations_agree_with_the_check_at_import():
    from dp_fedemb import environment

    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    checked = environment.REQUIREMENTS | environment.UNTRIED
    for line in project['dependencies']:
        found = re.match(r'([\w-]+)(?:>=|==)?(\d+(?:\.\d+)*)?', line)
        name, least = found[1], found[2] or ''
        assert checked[name][0].startswith(least) or least.startswith(checked[name][0]), line


# The build file: nothing but calls, and globs that find every file.


class Build(ast.NodeVisitor):
    """Patterns of every glob in BUILD, and files that it names."""

    def __init__(self):
        self.globs, self.files = [], []
        self.visit(ast.parse((ROOT / 'BUILD').read_text()))

    def visit_Call(self, node):
        if isinstance(node.func, ast.Name) and node.func.id == 'glob':
            self.globs += [item.value for item in node.args[0].elts]
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and re.fullmatch(r'[\w./-]+\.\w+', node.value):
            self.files.append(node.value)


def test_build_finds_every_source_and_names_none_that_is_gone():
    build = Build()
    found = {path for pattern in build.globs for path in ROOT.glob(pattern)}
    for pattern in build.globs:
        assert any(True for _ in ROOT.glob(pattern)), pattern
    sources = {*SOURCES, *(ROOT / 'tests').rglob('*.py')}
    assert sources - found == set()
    missing = [name for name in build.files if not (ROOT / name).exists()]
    assert missing == []


def test_what_binaries_share_is_no_binary():
    text = (ROOT / 'BUILD').read_text()
    binaries = re.search(r'py_binary\(.*?for source in glob\((\[.*?\])', text, re.DOTALL)[1]
    for pattern in ast.literal_eval(binaries):
        for path in ROOT.glob(pattern):
            assert "if __name__ == '__main__'" in path.read_text(), path
