"""Flags of bin/embed.py, and what they refuse before the model is loaded."""

from collections.abc import Iterable
import pathlib
import sys
import zipfile

from absl import flags

from dp_fedemb import pathnames
from dp_fedemb import tables
from dp_fedemb.data.images import preprocessing as preprocessing_lib

FLAGS = flags.FLAGS
_ARRAYS = {f'{name}.npy' for name in ('embeddings', 'paths', 'identities', 'users')}


def define() -> None:
    """Defines the flags that only `bin/embed.py` has."""
    flags.DEFINE_string(
        'index', None, 'File that holds the index of a folder; cluster can do without one.'
    )
    flags.DEFINE_integer('neighbours', 10, 'search: how many of each.', 1, 10**6)
    flags.DEFINE_enum(
        'format',
        'table',
        ['table', 'json', 'html'],
        'Of what search and verify say; search writes a page (html) to --output.',
    )
    flags.DEFINE_float(
        'far',
        None,
        'verify, cluster: how often two identities may be taken for one, one of those that the'
        ' evaluation measured.',
        lower_bound=1e-12,
        upper_bound=1.0,
    )
    flags.DEFINE_string(
        'evaluation',
        None,
        'verify, cluster: the evaluation.json of the model, or its directory; beside the model'
        ' by default.',
    )
    flags.DEFINE_float(
        'threshold',
        None,
        'cluster: least similarity, for models without an evaluation.',
        lower_bound=-1.0,
        upper_bound=1.0,
    )
    flags.DEFINE_string(
        'output',
        None,
        'File to write: NAME.npz of embeddings, NAME.html of search, NAME.csv of cluster, for'
        ' which any other name is that of a folder of links.',
    )
    flags.DEFINE_string('input', None, 'Folder of pictures; the part of a task by default.')
    flags.DEFINE_integer(
        'max_broken',
        0,
        'Pictures that cannot be read are skipped, up to this many.',
        lower_bound=0,
        upper_bound=10**9,
    )
    flags.DEFINE_integer(
        'max_pixels',
        300_000_000,
        'Pictures of more pixels count as broken, before they are decoded.',
        lower_bound=1,
        upper_bound=10**12,
    )
    # The model says these itself, unless it was trained on stores that do not say them.
    flags.DEFINE_enum(
        'fit',
        None,
        list(preprocessing_lib.FITS),
        'How pictures become square, where the model does not say; else crop.',
    )
    flags.DEFINE_enum(
        'resampling',
        None,
        list(preprocessing_lib.RESAMPLING),
        'Of pictures, where the model does not say; else bilinear.',
    )
    flags.DEFINE_bool(
        'invert', None, 'Dark becomes bright, for ink on paper, where the model does not say.'
    )


def check_file(name: str) -> None:
    """Refuses a flag that names what cannot become a file, or is no output of ours."""
    if FLAGS[name].value is None:
        return
    path = pathlib.Path(FLAGS[name].value).absolute()
    pathnames.check_place(**{name: path.parent})
    if name != 'output' or path.suffix:
        pathnames.check_file(path, name)
    if path.suffix and name == 'output' and path.is_file() and not _is_output(path):
        raise FileExistsError(
            f'output={FLAGS.output!r}: is there, and is none that this program wrote; choose'
            ' another name, or delete it'
        )


def _is_output(path: pathlib.Path) -> bool:
    """Whether a file, as its name ends, may be replaced by an output."""
    with path.open('rb') as file:
        start = file.read(4096)
    if path.suffix == '.npz' and start:
        try:
            with zipfile.ZipFile(path) as archive:
                return {'embeddings.npy'} < set(archive.namelist()) <= _ARRAYS
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return False
    begins = {'.csv': b'group,pictures,path,typical', '.html': b'<!DOCTYPE html>'}
    return not start or start.startswith(begins.get(path.suffix.lower(), b'\0'))


def needed(flag: str, command: str, example: str) -> str:
    """Returns the value of a flag that a command cannot do without."""
    value = FLAGS[flag].value
    if value is None or value == '':
        raise ValueError(f'{command}: needs --{flag}, as in --{flag}={example}')
    return value


def for_groups(pictures: str) -> tuple[pathlib.Path, bool]:
    """Returns where the groups of a folder of pictures go, and whether as a table."""
    output = pathlib.Path(needed('output', 'cluster', 'GROUPS.csv or a new folder')).absolute()
    if (FLAGS.far is None) == (FLAGS.threshold is None):
        raise ValueError('cluster: expected either --far=..., as in --far=1e-3, or --threshold')
    as_table = output.suffix.lower() == '.csv'
    if not as_table and output.exists():
        raise FileExistsError(f'output={str(output)!r}: exists already; choose a new folder')
    if not as_table:
        pathnames.check_apart(pictures, output=output)
    return output, as_table


def format_is(name: str) -> bool:
    """Whether --format is that one."""
    return FLAGS.format == name


def line(text: str) -> str:
    """Returns a text as one line, whatever the names of files in it hold."""
    return tables.on_one_line(text)


def say_note(text: str) -> None:
    """Says a note on standard error."""
    print(line(f'note: {text}'), file=sys.stderr)


def say_skipped(notes: Iterable[str], broken: Iterable[str]) -> None:
    """Says notes, and which pictures were skipped, on standard error."""
    for text in notes:
        say_note(text)
    for text in broken:
        print(line(f'skipped: {text}'), file=sys.stderr)
