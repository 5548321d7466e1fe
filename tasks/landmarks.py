"""Google Landmarks v2 by photographer, as in `tff.simulation.datasets.gldv2`.

Photographers are divided, and landmarks too: the test shows landmarks that nobody
trains on, by photographers who do not train. TFF's test file has no photographers,
so it cannot be shown to be disjoint from them, and is not used.

Source: Weyand et al., arXiv 2004.01804; Hsu et al., arXiv 2003.08082.
"""

import dataclasses

from dp_fedemb import validate
from tasks.shared import base
from tasks.shared import tff_photos

NAME = 'landmarks'


@dataclasses.dataclass(frozen=True)
class Options(tff_photos.Options):
    """Options of the task.

    Attributes:
        subset: 'gld160k', or 'gld23k', the smaller one for quick trials.
    """

    subset: str = 'gld160k'


_PHOTOS = (
    'and the photos: images_000.tar ... images_499.tar from'
    ' https://s3.amazonaws.com/google-landmark/train/ (500 GB), or in images/; or the'
    ' directory {subset}/ that tff.simulation.datasets.gldv2.load_data has made'
)
_SUBSETS = {
    'gld160k': tff_photos.Files(
        records=('gld160k/train',),
        lists=(
            'landmarks-user-160k.zip/federated_train.csv',
            'landmarks-user-160k/federated_train.csv',
            'datasets/landmarks-user-160k/federated_train.csv',
            'federated_train.csv',
        ),
        columns=('user_id', 'image_id', 'class'),
        folders=('images', 'train'),
        archives=('images_*.tar',),
        where='landmarks-user-160k.zip from http://storage.googleapis.com/gresearch/'
        'federated-vision-datasets/landmarks-user-160k.zip ' + _PHOTOS.format(subset='gld160k'),
    ),
    'gld23k': tff_photos.Files(
        records=('gld23k/train',),
        lists=('mini_gld_train_split.csv', 'datasets/mini_gld_train_split.csv'),
        columns=('user_id', 'image_id', 'class'),
        folders=('images', 'train'),
        archives=('images_*.tar',),
        where='mini_gld_train_split.csv from https://storage.googleapis.com/'
        'tff-datasets-public/mini_gld_train_split.csv ' + _PHOTOS.format(subset='gld23k'),
    ),
}
# Photographers, landmarks, images; the documentation of TFF's loader states them.
_PUBLISHED = {'gld160k': (1_262, 2_028, 164_172), 'gld23k': (233, 203, 23_080)}


def build(config: base.TaskConfig) -> base.Task:
    """Converts the photos in `config.data_dir`.

    Raises:
        FileNotFoundError: for missing files.
        ValueError: for damaged ones, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    validate.one_of('option subset', options.subset, _SUBSETS)
    return tff_photos.build(
        config,
        NAME,
        options,
        _SUBSETS[options.subset],
        _PUBLISHED[options.subset],
        ('photographers', 'landmarks'),
        description=f'Google Landmarks v2 ({options.subset}), user = photographer',
        default_backbone=options.default_backbone,
    )
