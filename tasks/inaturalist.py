"""iNaturalist 2017 by observer, as in `tff.simulation.datasets.inaturalist`.

Observers are divided, and species too: the test shows species that nobody trains on,
by observers who do not train. TFF's test file has no observers, so it cannot be shown
to be disjoint from them, and is not used.

Source: Van Horn et al., arXiv 1707.06642; Hsu et al., arXiv 2003.08082.
"""

from tasks.shared import base
from tasks.shared import tff_photos

NAME = 'inaturalist'
Options = tff_photos.Options

_FILES = tff_photos.Files(
    # TFF 0.87 writes to the second and looks in the first.
    records=('USER_120K/train', 'user_120k/train'),
    lists=('iNaturalist_train.csv', 'datasets/iNaturalist_train.csv'),
    columns=('user_120k', 'image_id', 'class'),
    folders=('train_val_images', 'images'),
    archives=('train_val_images.tar.gz',),
    where='iNaturalist_train.csv from'
    ' https://storage.googleapis.com/tff-datasets-public/iNaturalist_train.csv and the'
    ' photos: train_val_images.tar.gz (186 GB) from https://ml-inat-competition-datasets.'
    's3.amazonaws.com/2017/train_val_images.tar.gz, packed or unpacked; or the directory'
    ' USER_120K/ that tff.simulation.datasets.inaturalist.load_data has made',
)


def build(config: base.TaskConfig) -> base.Task:
    """Converts the photos in `config.data_dir`.

    Raises:
        FileNotFoundError: for missing files.
        ValueError: for damaged ones, or counts that are not as published.
    """
    options = base.parse_options(Options, config, NAME)
    return tff_photos.build(
        config,
        NAME,
        options,
        _FILES,
        (9_275, 1_203, 120_300),
        ('observers', 'species'),
        description='iNaturalist 2017, user = observer',
        default_backbone=options.default_backbone,
    )
