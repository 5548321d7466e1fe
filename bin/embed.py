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

from absl import flags

from flags import embed_flags
from flags import from_settings
from flags import groups
from flags import model_flags
from flags import program
from flags import run_task

from dp_fedemb import files

FLAGS = flags.FLAGS

groups.define_task()
model_flags.define()
model_flags.define_part()
embed_flags.define()


def main(arguments):
    model_flags.check_there(FLAGS.model)
    for name in ('index', 'output'):
        embed_flags.check_file(name)
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


def _index(folder):
    index_path = embed_flags.needed('index', 'index', 'NAME.index')
    result = _indexed(model_flags.load(FLAGS.model), folder, index_path)
    print(
        f'{len(result.index.paths):,} pictures: {len(result.added):,} new,'
        f' {len(result.changed):,} changed, {len(result.removed):,} removed;'
        f' {result.embedded:,} went through the model\nindex: {index_path}'
    )


def _search(*images):
    index_path = pathlib.Path(embed_flags.needed('index', 'search', 'NAME.index'))
    page = (
        embed_flags.needed('output', 'search --format=html', 'NAME.html')
        if embed_flags.format_is('html')
        else ''
    )
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
    found = gallery.search(
        model, index, images, preprocessing, FLAGS.neighbours, embed_flags.say_note
    )
    if page:
        path = pathlib.Path(page).absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, search_page.build(found, index.folder), 0o600)
        print(f'page: {path}')
    elif embed_flags.format_is('json'):
        print(json.dumps([result.to_json() for result in found]))
    else:
        for result in found:
            rows = [
                (
                    f'{n.score:.4f}',
                    embed_flags.line(n.path + (f' ({n.note} since)' if n.note else '')),
                )
                for n in result.neighbours
            ]
            print(f'{embed_flags.line(result.query)}\n{tables.text(rows, "rl", indent=2)}')


def _verify(first, second):
    far = embed_flags.needed('far', 'verify', '1e-3')
    if embed_flags.format_is('html'):
        raise ValueError("format='html': verify has table and json")
    from dp_fedemb import gallery

    model = model_flags.load(FLAGS.model)
    thresholds = gallery.find_thresholds(model.path, model.fingerprint, FLAGS.evaluation)
    verdict = gallery.verify(
        model, first, second, far, thresholds, _preprocessing(model), embed_flags.say_note
    )
    print(json.dumps(verdict.to_json()) if embed_flags.format_is('json') else verdict)


def _cluster(folder):
    output, as_table = embed_flags.for_groups(folder)
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
        files.write_text(output, clustering.csv_text(groups), 0o600)
    else:
        clustering.write_links(output, groups, index.folder)
    together = [group for group in groups if len(group.paths) > 1]
    print(
        f'{len(index.paths):,} pictures: {len(together):,} groups of two or more, the largest'
        f' of {len(groups[0].paths):,}; {len(groups) - len(together):,} alone; joined at a mean'
        f' similarity of {threshold:.4f} or more\ngroups: {output}'
    )


_OF_FOLDERS = ('eval_batch_size', 'max_broken')
# Name -> function, what it takes, whether so many arguments are right, and which flags it
# reads beside those of the model and of pictures.
_COMMANDS = {
    'index': (_index, 'FOLDER', lambda count: count == 1, {'index', *_OF_FOLDERS}),
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
        {'index', 'far', 'evaluation', 'threshold', 'output', *_OF_FOLDERS},
    ),
}
_OF_COMMANDS = set.union(*(uses for *_, uses in _COMMANDS.values()))
_OF_TASKS = (*groups.task_flags(), 'part', 'other_preprocessing')


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
    embed_flags.say_skipped(result.notes, [f'{k}: {v}' for k, v in result.index.broken.items()])
    return result


def _preprocessing(model):
    from dp_fedemb.models import saved_model

    asked = {name: FLAGS[name].value for name in ('fit', 'resampling', 'invert')}
    found = saved_model.preprocessing_of(model.path, model.example_spec.shape, asked)
    if saved_model.read_preprocessing(model.path) is None:
        said = ', '.join(f'{name}={getattr(found, name)}' for name in asked)
        embed_flags.say_skipped(
            [f'the model does not say how its pictures were prepared; {said}'], []
        )
    return dataclasses.replace(found, max_pixels=FLAGS.max_pixels)


# Without a command: embeddings into a file.


def _embed():
    output = pathlib.Path(embed_flags.needed('output', 'embed', 'embeddings.npz')).absolute()
    if output.suffix != '.npz' or output.is_dir():
        raise ValueError(f'output={FLAGS.output!r}: expected the name of a file, NAME.npz')
    from_settings.refuse_unused('embed', *sorted(_OF_COMMANDS - {'output', *_OF_FOLDERS}))
    for name in ('fit', 'resampling', 'invert', 'max_broken', 'max_pixels'):
        from_settings.need(name, 'input')
    if FLAGS.input is not None:
        from_settings.refuse_unused('a folder of pictures', *_OF_TASKS)
        groups.check_directory('input')
        arrays = _of_folder()
    else:
        arrays = _of_task()

    import numpy as np

    output.parent.mkdir(parents=True, exist_ok=True)
    with files.appearing_file(output, 0o600) as draft, draft.open('wb') as stream:
        np.savez(stream, **arrays)
    count, dim = arrays['embeddings'].shape
    print(f'{count:,} embeddings of {dim} numbers: {output}')


def _of_task():
    run_task.follow([FLAGS.model])
    groups.check_task()
    store = model_flags.part(groups.task())
    model = model_flags.load(FLAGS.model)

    import numpy as np

    from dp_fedemb import evaluation
    from dp_fedemb import progress

    model_flags.check_for(model, store)
    with progress.bar(store.num_examples, 'embedding', 'image') as bar:
        embeddings = evaluation.embed_store(model, store, FLAGS.eval_batch_size, bar.update)
    return {
        'embeddings': embeddings,
        'identities': np.array(store.identity_names)[store.identities],
        'users': np.array(store.user_names)[store.users],
    }


def _of_folder():
    from dp_fedemb.data.images import listing as listing_lib

    listing = listing_lib.pictures(pathlib.Path(FLAGS.input), 'input')
    model = model_flags.load(FLAGS.model)

    import numpy as np

    from dp_fedemb import progress
    from dp_fedemb.evaluation import folder as folder_lib

    preprocessing = _preprocessing(model)
    with progress.bar(len(listing.names), 'embedding', 'image') as bar:
        found = folder_lib.embed_folder(
            model,
            listing,
            preprocessing,
            FLAGS.eval_batch_size,
            FLAGS.max_broken,
            bar.update,
        )
    embed_flags.say_skipped(found.notes, found.broken)
    return {'embeddings': found.embeddings, 'paths': np.array(found.paths)}


if __name__ == '__main__':
    program.run(main, positional=sys.maxsize)
