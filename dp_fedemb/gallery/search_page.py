"""The result of a search as one HTML file that needs nothing else."""

import base64
from collections.abc import Sequence
import html
import io
import pathlib

from PIL import Image

from dp_fedemb import version
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.gallery import searching

# Side of a picture on the page, in pixels of a screen of double density.
_SIDE = 256
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.45 system-ui, sans-serif; color: #1e2930; background: #fff; margin: 0; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0 0; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
p { color: #4a5861; margin: .3rem 0 1.2rem; overflow-wrap: anywhere; }
section { border-top: 1px solid #cfd8dd; padding: 1rem 0; }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
li { min-width: 0; }
img, .none { width: 100%; aspect-ratio: 1; border: 1px solid #cfd8dd; border-radius: 4px;
  display: grid; place-items: center; background: #f2f5f6; color: #4a5861;
  image-rendering: auto; }
.query img { border: 3px solid #1e2930; }
b { font-variant-numeric: tabular-nums; }
.path { display: block; font-size: .8rem; color: #4a5861; overflow-wrap: anywhere; }
"""


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
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>Nearest pictures</title>\n<style>{_STYLE}</style></head>\n<body><main>\n'
        f'<h1>Nearest pictures</h1>\n<p>{count:,} {"picture" if count == 1 else "pictures"}'
        f' (heavy frame), each with its nearest neighbours in {_breakable(folder)}, the most'
        ' similar first. The number is the cosine of the two embeddings: 1 for the same'
        ' direction, 0 for unrelated ones.</p>\n'
        + '\n'.join(_section(result, folder, pictures) for result in found)
        + f'\n<p>dp_fedemb {version.__version__}</p>\n</main></body></html>\n'
    )


def _section(result: searching.Found, folder: str, pictures: dict[pathlib.Path, str]) -> str:
    path = pathlib.Path(result.query).expanduser()
    items = [f'<li class="query">{_image(pictures[path], result.query)}<b>this one</b></li>']
    for neighbour in result.neighbours:
        shown = _image(pictures[pathlib.Path(folder, neighbour.path)], neighbour.path)
        note = f' ({neighbour.note} since)' if neighbour.note else ''
        items.append(
            f'<li>{shown}<b>{neighbour.score:.4f}</b>{note}'
            f'<span class="path">{_breakable(neighbour.path)}</span></li>'
        )
    body = '\n'.join(items)
    return f'<section><h2>{_breakable(result.query)}</h2>\n<ol>\n{body}\n</ol></section>'


def _image(data: str, name: str) -> str:
    if not data:
        return '<div class="none">no picture</div>'
    return f'<img alt="{_escaped(name)}" src="data:image/jpeg;base64,{data}">'


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


def _escaped(text: str) -> str:
    # Names of files may hold what is no valid text.
    return html.escape(text.encode('utf-8', 'replace').decode('utf-8'))


def _breakable(path: str) -> str:
    """A path whose lines end after its slashes."""
    return _escaped(path).replace('/', '/<wbr>')
