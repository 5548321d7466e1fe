"""Images of a report with their nearest neighbours."""

import base64
import html
import io

import numpy as np
from PIL import Image

from dp_fedemb.evaluation import retrieval

# Side of a picture in pixels; about twice what it has on the page.
_MOST = 180


def build(
    images: np.ndarray,
    embeddings: np.ndarray,
    identities: np.ndarray,
    num_queries: int = 8,
    k: int = 8,
    seed: int = 0,
) -> str:
    """Returns a few images and their nearest neighbours as HTML.

    Right and wrong differ in a sign, a word and the frame, not by colour alone.

    Args:
        images: uint8 [n, H, W, C].
        embeddings: float32 [n, D].
        identities: [n].
        num_queries: rows, drawn at random among images that have something to find.
        k: neighbours of each.
        seed: of the draw.
    """
    _, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    candidates = np.nonzero(counts[labels] > 1)[0]
    if not len(candidates):
        return '<p>No image has another one of its identity to find.</p>'
    size = min(num_queries, len(candidates))
    queries = np.sort(np.random.default_rng(seed).choice(candidates, size, replace=False))
    found, scores = retrieval.nearest(embeddings, queries, k)
    rows = []
    for number, (query, others, of_them) in enumerate(zip(queries, found, scores), start=1):
        items = [_item('self', images[query], 'the query', f'Query {number}')]
        for rank, (other, score) in enumerate(zip(others, of_them), start=1):
            right = labels[other] == labels[query]
            words = f'✓ {score:.2f} same' if right else f'✗ {score:.2f} other'
            described = f'Neighbour {rank} of query {number}'
            items.append(_item('right' if right else 'wrong', images[other], words, described))
        rows.append(f'<ul class="query" aria-label="Query {number}">{"".join(items)}</ul>')
    return '\n'.join(rows)


def _item(kind: str, image: np.ndarray, words: str, described: str) -> str:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(picture.size) > _MOST:
        picture.thumbnail((_MOST, _MOST))
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<li class="{kind}"><img alt="{html.escape(described)}"'
        f' src="data:image/png;base64,{data}">{html.escape(words)}</li>'
    )
