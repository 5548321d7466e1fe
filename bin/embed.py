#!/usr/bin/env python3
"""Puts a trained model to work on pictures.

    bin/embed.py index PHOTOS --model=runs/demo --index=photos.index
    bin/embed.py search IMAGE... --model=runs/demo --index=photos.index
    bin/embed.py verify A B --model=runs/demo --far=1e-3
    bin/embed.py cluster PHOTOS --model=runs/demo --far=1e-3 --output=groups.csv
    bin/embed.py --model=runs/demo --input=PHOTOS --output=embeddings.npz
    bin/embed.py --model=runs/demo --task=omniglot --part=test --output=embeddings.npz

`index` embeds every picture in a folder and below, and once more only what is new or has
changed. `search` finds the pictures of an index that are most similar to others. `verify`
says whether two pictures show the same identity, with the threshold that the model's
evaluation measured for a false accept rate (bin/evaluate.py --output_dir=RUN/report).
`cluster` groups a folder: into a table (--output=NAME.csv) or a folder of links.

Without a command, embeddings go to a file: `embeddings` (float32 [n, D], norm 1) and
`paths`, or `identities` and `users` (names).
"""

import dataclasses
import json
import pathlib
import sys
import zipfile

from absl import flags

from flags import from_settings
from flags import groups
from flags import model_flags
from flags import program

from dp_fedemb import files
from dp_fedemb.data.images import preprocessing as preprocessing_lib

FLAGS = flags.FLAGS
_ARRAYS = {f'{name}.npy' for name in ('embeddings', 'paths', 'identities', 'users')}

groups.define_task()
model_flags.define()
model_flags.define_part()
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
    'verify, cluster: the evaluation.json of the model, or its directory; beside the model by'
    ' default.',
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
    'File to write: NAME.npz of embeddings, NAME.html of search, NAME.csv of cluster, for which'
    ' any other name is that of a folder of links.',
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


def main(arguments):
    groups.check_directory('model')
    for name in ('index', 'output'):
        if FLAGS[name].value is not None:
            _check_file(name)
    if FLAGS.evaluation is not None:
        groups.check_there('evaluation')
    if not arguments:
        _embed()
        return
    command, *rest = arguments
    if command not in _COMMANDS:
        raise ValueError(f'{command!r}: expected one of {", ".join(_COMMANDS)}; see --help')
    run, expected, fits, uses = _COMMANDS[command]
    if not fits(len(rest)):
        raise ValueError(f'{command} with {len(rest)} arguments: expected {command} {expected}')
    from_settings.refuse_unused(command, *_OF_TASKS, 'input', *sorted(_OF_COMMANDS - uses))
    for path in rest:
        if expected == 'FOLDER' and not pathlib.Path(path).is_dir():
            raise FileNotFoundError(f'folder={path!r}: no such directory')
        if not pathlib.Path(path).exists():
            raise FileNotFoundError(f'picture {path!r}: no such file')
    run(*rest)


def _check_file(name):
    """Refuses what cannot become a file, before the model is loaded."""
    path = pathlib.Path(FLAGS[name].value).absolute()
    files.check_place(**{name: path.parent})
    if name != 'output' or path.suffix:
        files.check_file(path, name)
    if path.suffix and name == 'output' and path.is_file() and not _is_output(path):
        raise FileExistsError(
            f'output={FLAGS.output!r}: is there, and is none that this program wrote; choose'
            ' another name, or delete it'
        )


def _is_output(path):
    """Whether a file, as its name ends, may be replaced by an output."""
    with path.open('rb') as file:
        start = file.read(4096)
    if path.suffix == '.npz' and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {'embeddings.npy'} < set(archive.namelist()) <= _ARRAYS
    begins = {'.csv': b'group,pictures,path,typical', '.html': b'<!DOCTYPE html>'}
    return not start or start.startswith(begins.get(path.suffix.lower(), b'\0'))


# Commands.


def _index(folder):
    index_path = _needed('index', 'index', 'NAME.index')
    result = _indexed(model_flags.load(FLAGS.model), folder, index_path)
    print(
        f'{len(result.index.paths):,} pictures: {len(result.added):,} new,'
        f' {len(result.changed):,} changed, {len(result.removed):,} removed;'
        f' {result.embedded:,} went through the model\nindex: {index_path}'
    )


def _search(*images):
    index_path = pathlib.Path(_needed('index', 'search', 'NAME.index'))
    page = _needed('output', 'search --format=html', 'NAME.html') if _format_is('html') else ''
    if page and pathlib.Path(page).suffix.lower() != '.html':
        raise ValueError(f'output={page!r}: expected the name of a page, NAME.html')
    groups.check_there('index')
    from dp_fedemb import gallery
    from dp_fedemb import tables
    from dp_fedemb.gallery import indexing
    from dp_fedemb.gallery import search_page

    index = gallery.read_index(index_path)
    model = model_flags.load(FLAGS.model)
    index.check_model(model.fingerprint, index_path)
    preprocessing = _preprocessing(model)
    indexing.check_preprocessing(index, preprocessing, index_path)
    found = gallery.search(model, index, images, preprocessing, FLAGS.neighbours)
    if page:
        path = pathlib.Path(page).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, search_page.build(found, index.folder))
        print(f'page: {path}')
    elif _format_is('json'):
        print(json.dumps([result.to_json() for result in found]))
    else:
        for result in found:
            rows = [
                (f'{n.score:.4f}', n.path + (f' ({n.note} since)' if n.note else ''))
                for n in result.neighbours
            ]
            print(_printable(f'{result.query}\n{tables.text(rows, "rl", indent=2)}'))


def _verify(first, second):
    far = _needed('far', 'verify', '1e-3')
    if _format_is('html'):
        raise ValueError("format='html': verify has table and json")
    from dp_fedemb import gallery

    model = model_flags.load(FLAGS.model)
    thresholds = gallery.find_thresholds(model.path, model.fingerprint, FLAGS.evaluation)
    verdict = gallery.verify(model, first, second, far, thresholds, _preprocessing(model))
    print(json.dumps(verdict.to_json()) if _format_is('json') else verdict)


def _cluster(folder):
    output = pathlib.Path(_needed('output', 'cluster', 'GROUPS.csv or a new folder'))
    output = output.absolute()
    if (FLAGS.far is None) == (FLAGS.threshold is None):
        raise ValueError('cluster: expected either --far=..., as in --far=1e-3, or --threshold')
    as_table = output.suffix.lower() == '.csv'
    if not as_table and output.exists():
        raise FileExistsError(f'output={str(output)!r}: exists already; choose a new folder')
    from dp_fedemb import gallery
    from dp_fedemb.gallery import clustering

    model = model_flags.load(FLAGS.model)
    threshold = FLAGS.threshold
    if threshold is None:
        known = gallery.find_thresholds(model.path, model.fingerprint, FLAGS.evaluation)
        threshold = known.at(FLAGS.far).threshold
    index = _indexed(model, folder, FLAGS.index).index
    groups = gallery.cluster(index, threshold)
    if as_table:
        output.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(output, clustering.csv_text(groups))
    else:
        clustering.write_links(output, groups, index.folder)
    together = [group for group in groups if len(group.paths) > 1]
    print(
        f'{len(index.paths):,} pictures: {len(together):,} groups of two or more, the largest'
        f' of {len(groups[0].paths):,}; {len(groups) - len(together):,} alone; joined at a mean'
        f' similarity of {threshold:.4f} or more\ngroups: {output}'
    )


# Name -> function, what it takes, whether so many arguments are right, and which flags it
# reads beside those of the model and of pictures.
_COMMANDS = {
    'index': (_index, 'FOLDER', lambda count: count == 1, {'index'}),
    'search': (
        _search,
        'IMAGE...',
        lambda count: count >= 1,
        {'index', 'neighbours', 'format', 'output'},
    ),
    'verify': (_verify, 'A B', lambda count: count == 2, {'far', 'evaluation', 'format'}),
    'cluster': (
        _cluster,
        'FOLDER',
        lambda count: count == 1,
        {'index', 'far', 'evaluation', 'threshold', 'output'},
    ),
}
_OF_COMMANDS = set.union(*(uses for *_, uses in _COMMANDS.values()))
_OF_TASKS = ('task', 'task_option', 'data_dir', 'part', 'other_preprocessing')


def _needed(flag, command, example):
    """Value of a flag that a command cannot do without."""
    value = FLAGS[flag].value
    if value is None or value == '':
        raise ValueError(f'{command}: needs --{flag}, as in --{flag}={example}')
    return value


def _format_is(name):
    return FLAGS.format == name


def _printable(text):
    """Names of files may hold what is no valid text."""
    return text.encode('utf-8', 'replace').decode('utf-8')


def _indexed(model, folder, index_path):
    from dp_fedemb import gallery
    from dp_fedemb import progress
    from dp_fedemb.data.images import listing as listing_lib

    preprocessing = _preprocessing(model)
    listing = listing_lib.pictures(pathlib.Path(folder), 'folder')
    with progress.bar(len(listing.names), 'indexing', 'image') as bar:
        result = gallery.index(
            model,
            listing,
            index_path,
            preprocessing,
            FLAGS.eval_batch_size,
            FLAGS.max_broken,
            on_pictures=bar.update,
        )
    _say_skipped(result.notes, [f'{k}: {v}' for k, v in result.index.broken.items()])
    return result


def _preprocessing(model):
    from dp_fedemb.models import saved_model

    asked = {name: FLAGS[name].value for name in ('fit', 'resampling', 'invert')}
    found = saved_model.preprocessing_of(model.path, model.example_spec.shape, asked)
    if saved_model.read_preprocessing(model.path) is None:
        said = ', '.join(f'{name}={getattr(found, name)}' for name in asked)
        _say_skipped([f'the model does not say how its pictures were prepared; {said}'], [])
    return dataclasses.replace(found, max_pixels=FLAGS.max_pixels)


def _say_skipped(notes, broken):
    for line in notes:
        print(_printable(f'note: {line}'), file=sys.stderr)
    for line in broken:
        print(_printable(f'skipped: {line}'), file=sys.stderr)


# Without a command: embeddings into a file.


def _embed():
    output = pathlib.Path(_needed('output', 'embed', 'embeddings.npz')).absolute()
    if output.suffix != '.npz' or output.is_dir():
        raise ValueError(f'output={FLAGS.output!r}: expected the name of a file, NAME.npz')
    from_settings.refuse_unused('embed', *sorted(_OF_COMMANDS - {'output'}))
    for name in ('fit', 'resampling', 'invert', 'max_broken', 'max_pixels'):
        from_settings.need(name, 'input')
    if FLAGS.input is not None:
        from_settings.refuse_unused('a folder of pictures', *_OF_TASKS)
        groups.check_directory('input')
    model = model_flags.load(FLAGS.model)
    arrays = _of_task(model) if FLAGS.input is None else _of_folder(model)

    import numpy as np

    output.parent.mkdir(parents=True, exist_ok=True)
    with files.appearing_file(output) as draft, draft.open('wb') as stream:
        np.savez(stream, **arrays)
    count, dim = arrays['embeddings'].shape
    print(f'{count:,} embeddings of {dim} numbers: {output}')


def _of_task(model):
    import numpy as np

    from dp_fedemb import evaluation
    from dp_fedemb import progress

    store = model_flags.part(groups.task())
    model_flags.check_for(model, store)
    with progress.bar(store.num_examples, 'embedding', 'image') as bar:
        embeddings = evaluation.embed(model, store.examples, FLAGS.eval_batch_size, bar.update)
    return {
        'embeddings': embeddings,
        'identities': np.array(store.identity_names)[store.identities],
        'users': np.array(store.user_names)[store.users],
    }


def _of_folder(model):
    import numpy as np

    from dp_fedemb import progress
    from dp_fedemb.data.images import listing as listing_lib
    from dp_fedemb.evaluation import folder as folder_lib

    preprocessing = _preprocessing(model)
    folder = pathlib.Path(FLAGS.input)
    listing = listing_lib.pictures(folder, 'input')
    with progress.bar(len(listing.names), 'embedding', 'image') as bar:
        found = folder_lib.embed_folder(
            model,
            listing,
            preprocessing,
            FLAGS.eval_batch_size,
            FLAGS.max_broken,
            bar.update,
        )
    _say_skipped(found.notes, found.broken)
    return {'embeddings': found.embeddings, 'paths': np.array(found.paths)}


if __name__ == '__main__':
    program.run(main, positional=sys.maxsize)
