"""Preparing a TFDS data set from archives that are already on the disk."""

import os
import pathlib
import shutil
import zipfile

from dp_fedemb.data import store as store_lib


def check_zip(path: pathlib.Path, task: str, where: str) -> None:
    """Checks that an archive is there and whole.

    Args:
        path: the archive.
        task: name of the task, for the message.
        where: where to get it.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is not a zip or a member fails its checksum.
    """
    if not path.exists():
        raise FileNotFoundError(f'{path}: missing; task {task} needs it: {where}')
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    # zlib errors surface as such, not as BadZipFile.
    except Exception as error:
        raise ValueError(
            f'{path}: damaged archive ({" ".join(str(error).split())}); fetch it again: {where}'
        ) from None
    if broken:
        raise ValueError(f'{path}: damaged archive (member {broken}); fetch it again: {where}')


def builder_from_archives(name: str, archives: pathlib.Path, data_dir: pathlib.Path):
    """Prepares a TFDS data set offline, unless it is prepared already.

    TFDS compares each file with the checksum of the release that it knows. Archives
    are given here by the user, who may have packed them again, so they are compared
    with their own sums; the caller checks what is in them.

    Args:
        name: of the data set in TFDS.
        archives: directory with the archives under their official file names.
        data_dir: where the prepared data set goes.

    Returns:
        The `tfds.core.DatasetBuilder`, prepared.
    """
    import tensorflow_datasets as tfds
    from etils import epath
    from tensorflow_datasets.core import registered
    from tensorflow_datasets.core.download import checksums

    builder = tfds.builder(name, data_dir=os.fspath(data_dir))
    if builder.is_prepared():
        return builder
    official = type(builder)
    local = {
        url: checksums.compute_url_info(epath.Path(archives / info.filename))
        for url, info in official.url_infos.items()
    }
    with registered.skip_registration():
        kind = type(official.__name__, (official,), {'url_infos': local})
    work = store_lib.partial_sibling(data_dir / f'{name}_downloads')
    config = tfds.download.DownloadConfig(
        manual_dir=archives, extract_dir=work / 'extracted', try_download_gcs=False
    )
    try:
        kind(data_dir=os.fspath(data_dir)).download_and_prepare(
            download_dir=work / 'downloads', download_config=config
        )
    finally:
        shutil.rmtree(work)
    return tfds.builder(name, data_dir=os.fspath(data_dir))
