"""The result of a search as one HTML file that needs nothing else."""

import base64
from collections.abc import Sequence
import html
import io
import pathlib

from PIL import Image

from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation.report import style
from dp_fedemb.gallery import searching

# Side of a picture on the page, in pixels of a screen of double density.
_SIDE = 256


def build(found: Sequence[searching.Found], folder: str) -> str:
    """Returns the page.

    Args:
        found: of `searching.search`.
        folder: of the index.

    Pictures stand on it as they are now, small; what is gone, changed or cannot be read
    any more is marked.
    """
    wanted = [pathlib.Path(result.query).expanduser() for result in found]
    wanted += [pathlib.Path(folder, n.path) for result in found for n in result.neighbours]
    pictures = _pictures(list(dict.fromkeys(wanted)))
    count = len(found)
    about = [
        f'{count:,} {"picture" if count == 1 else "pictures"} (double frame), each with its'
        # Its name alone: the path tells of whose computer it is on.
        f' nearest neighbours in {_printable(pathlib.Path(folder).name)}, the most similar'
        ' first.',
        'The number is the cosine of the two embeddings: 1 for the same direction, 0 for'
        ' unrelated ones.',
    ]
    sections = [
        (f'picture-{number}', _printable(result.query), _row(result, number, folder, pictures))
        for number, result in enumerate(found, start=1)
    ]
    return style.page('Nearest pictures', about, sections)


def _row(
    result: searching.Found, number: int, folder: str, pictures: dict[pathlib.Path, str]
) -> str:
    own = pictures[pathlib.Path(result.query).expanduser()]
    items = [f'<li class="self">{_image(own, f"Picture {number}")}<b>this one</b></li>']
    for rank, neighbour in enumerate(result.neighbours, start=1):
        path = pathlib.Path(folder, neighbour.path)
        shown = _image(pictures[path], f'Neighbour {rank} of picture {number}')
        note = f' ({neighbour.note} since)' if neighbour.note else ''
        items.append(
            f'<li>{shown}<b>{neighbour.score:.4f}</b>{note}'
            f'<span class="path">{_breakable(neighbour.path)}</span></li>'
        )
    if not result.neighbours:
        items.append('<li>no other picture is in the index</li>')
    body = '\n'.join(items)
    return f'<ol class="query large" aria-labelledby="picture-{number}-title">\n{body}\n</ol>'


def _image(data: str, described: str) -> str:
    if not data:
        return '<div class="none">no picture</div>'
    return f'<img alt="{described}" src="data:image/jpeg;base64,{data}">'


def _pictures(paths: Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Small JPEGs in base64; empty for what cannot be read."""
    small = preprocessing_lib.Preprocessing(_SIDE, 3, 'pad', background=242)
    shown = {}
    for batch in reading.decoded(paths, small):
        for path, pixels, _ in batch:
            shown[path] = ''
            if pixels is not None:
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, 'JPEG', quality=88)
                shown[path] = base64.b64encode(buffer.getvalue()).decode()
    return shown


def _printable(text: str) -> str:
    # Names of files may hold what is no valid text.
    return text.encode('utf-8', 'replace').decode('utf-8')


def _breakable(path: str) -> str:
    """A path whose lines end after its slashes."""
    return html.escape(_printable(path)).replace('/', '/<wbr>')
