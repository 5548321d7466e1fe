"""DigiFace-1M as a TFDS data set, from archives fetched by hand.

    import tensorflow_datasets as tfds
    from tasks.shared import digiface_tfds
    builder = digiface_tfds.Digiface1m(config='subjects72', data_dir=DATA_DIR)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=ARCHIVES_DIR)
    )

The task `digiface` reads the archives themselves as well; this is for other programs.
"""

import pathlib
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tasks.shared import digiface_files


class Digiface1m(tfds.core.GeneratorBasedBuilder):
    """One split, 'train', of all subjects; features subject, number and image."""

    VERSION = tfds.core.Version('1.0.0')
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=f'subjects{subset}', description=f'{subset} images each')
        for subset in digiface_files.ARCHIVES
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = ' or '.join(
        map(digiface_files.where, digiface_files.ARCHIVES)
    )

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description='Rendered faces of Bae et al., WACV 2023.',
            features=tfds.features.FeaturesDict(
                {
                    'subject': np.int64,
                    'number': np.int64,
                    'image': tfds.features.Image(shape=(112, 112, 3), encoding_format='png'),
                }
            ),
            homepage='https://microsoft.github.io/DigiFace1M',
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        subset = self.builder_config.name.removeprefix('subjects')
        directory = pathlib.Path(dl_manager.manual_dir)
        paths = digiface_files.find(directory, subset, partial=False, task=self.name)
        return {'train': self._generate_examples(paths, subset)}

    def _generate_examples(self, paths, subset):
        for path in paths:
            with digiface_files.open_archive(path, subset) as archive:
                for subject, number, member in digiface_files.members(archive):
                    key = int(subject) * 100 + number
                    yield (
                        key,
                        {
                            'subject': int(subject),
                            'number': number,
                            'image': archive.open(member),
                        },
                    )
