"""Nearest neighbours against all similarities, and the page that shows them."""

import dataclasses
import os
import re
import shutil

import numpy as np
from PIL import Image
import pytest

from dp_fedemb import gallery
from dp_fedemb.gallery import search_page


@pytest.fixture
def index(model, folder, preprocessing):
    return gallery.index(model, folder, None, preprocessing).index


def test_neighbours_are_those_of_all_similarities(model, index, folder, preprocessing):
    queries = [folder / '02/3.png', folder / '11/0.png']
    found = gallery.search(model, index, queries, preprocessing, k=7)
    for query, result in zip(queries, found):
        row = index.paths.index(str(query.relative_to(folder)))
        scores = index.embeddings.astype(np.float64) @ index.embeddings[row]
        scores[row] = -2
        best = np.argsort(-scores)[:7]
        assert [n.path for n in result.neighbours] == [index.paths[i] for i in best]
        np.testing.assert_allclose(
            [n.score for n in result.neighbours], scores[best], atol=1e-6
        )
        assert result.query == str(query)


def test_a_picture_from_elsewhere_and_more_neighbours_than_there_are(
    model, index, folder, preprocessing, tmp_path
):
    copy = tmp_path / 'copy.png'
    copy.write_bytes((folder / '04/4.png').read_bytes())
    (found,) = gallery.search(model, index, [copy], preprocessing, k=1000)
    assert len(found.neighbours) == 60
    assert found.neighbours[0].path == '04/4.png'
    assert found.neighbours[0].score == pytest.approx(1, abs=1e-6)
    # The same file by another way is the picture itself.
    link = tmp_path / 'link.png'
    link.symlink_to(folder / '04/4.png')
    (found,) = gallery.search(model, index, [link], preprocessing, k=1000)
    assert len(found.neighbours) == 59
    assert '04/4.png' not in [n.path for n in found.neighbours]


def test_the_only_picture_has_no_neighbour(model, folder, preprocessing):
    one = folder / '00'
    for path in sorted(one.iterdir())[1:]:
        path.unlink()
    index = gallery.index(model, one, None, preprocessing).index
    (found,) = gallery.search(model, index, [one / '0.png'], preprocessing)
    assert found.neighbours == ()


def test_what_has_become_of_pictures_is_said(model, index, folder, preprocessing):
    (folder / '02/0.png').unlink()
    os.utime(folder / '02/1.png', (1, 1))
    (found,) = gallery.search(model, index, [folder / '02/3.png'], preprocessing, k=59)
    notes = {n.path: n.note for n in found.neighbours}
    assert {path: note for path, note in notes.items() if note} == {
        '02/0.png': 'gone',
        '02/1.png': 'changed',
    }


def test_further_frames_are_told(model, index, folder, preprocessing, tmp_path):
    frames = [Image.new('L', (16, 16), level) for level in (9, 200)]
    path = tmp_path / 'two.gif'
    frames[0].save(path, save_all=True, append_images=frames[1:])
    notes = []
    queries = [path, folder / '02/3.png']
    gallery.search(model, index, queries, preprocessing, on_note=notes.append)
    assert notes == [f'1 pictures have further frames or pages, which are left out: {path}']
    shutil.copy(path, folder)
    noted = gallery.index(model, folder, None, preprocessing).notes
    assert [note for note in noted if 'frames' in note] == [
        notes[0].replace(str(path), 'two.gif')
    ]


def test_bad_input(model, index, folder, preprocessing, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"picture '.*nowhere.png': no such file"):
        gallery.search(model, index, [tmp_path / 'nowhere.png'], preprocessing)
    (tmp_path / 'bad.png').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r"picture '.*bad.png': cannot be read"):
        gallery.search(model, index, [folder / '02/3.png', tmp_path / 'bad.png'], preprocessing)
    with pytest.raises(ValueError, match="was made with fit='crop', not 'pad'"):
        other = dataclasses.replace(preprocessing, fit='pad')
        gallery.search(model, index, [folder / '02/3.png'], other)
    with pytest.raises(ValueError, match='k=0: expected a number above 0'):
        gallery.search(model, index, [folder / '02/3.png'], preprocessing, k=0)


def test_the_page_needs_nothing_else_and_escapes_names(model, folder, preprocessing, tmp_path):
    (folder / '00/0.png').rename(folder / '00/<b>&"x.png')
    (folder / '00/1.png').rename(folder / '00' / os.fsdecode(b'\xe9.png'))
    index = gallery.index(model, folder, None, preprocessing).index
    (folder / '00/2.png').unlink()
    found = gallery.search(model, index, [folder / '00/3.png'], preprocessing, k=59)
    page = search_page.build(found, index.folder)
    assert page.encode()
    assert page.count('src="data:image/jpeg;base64,') == 59 == page.count('<img ')
    assert page.count('no picture') == 1 and '(gone since)' in page
    assert len(set(re.findall('alt="([^"]+)"', page))) == 59
    assert ' in photos, the most similar' in page and str(folder) not in page.replace(
        str(folder / '00/3.png'), ''
    )
    assert '<b>&' not in page and '&lt;b&gt;&amp;&quot;x.png' in page
    assert not re.search(r'(src|href)="(?!data:|#)', page) and '<script' not in page
