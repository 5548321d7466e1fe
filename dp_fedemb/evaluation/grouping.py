"""Groups of evaluated images: from a list, or from the folders that they lie in."""

import csv
import os
import posixpath
from typing import Union

import numpy as np

from dp_fedemb.data import lists
from dp_fedemb.data import names as names_lib
from dp_fedemb.data import store as store_lib

PARENT = 'parent'
NOT_LISTED = '(not listed)'


def groups(store: store_lib.UserStore, source: Union[str, 'os.PathLike[str]']) -> np.ndarray:
    """Returns the group of each image, [n] of text.

    Args:
        store: of the images.
        source: 'parent' for the folder around an identity's (of names with slashes, as
            'alphabet/character', or of the images' paths); or the path of a
            list with a line 'name,group' (or a tab in place of the comma) for each user,
            identity or image. Who is in no line makes a group of its own.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it has other lines, or names nobody of the store; if names tell of no
            folder.
    """
    if str(source) == PARENT:
        return _parents(store)
    listed = _read(source)
    found = np.full(store.num_examples, NOT_LISTED, object)
    # The more exact name last: it counts.
    for names, of_example in (
        (store.user_names, store.users),
        (store.identity_names, store.identities),
        (store.example_names, np.arange(store.num_examples)),
    ):
        if names is not None:
            of_name = np.array([listed.get(name) for name in names], object)[of_example]
            known = np.array([group is not None for group in of_name], bool)
            found[known] = of_name[known]
    if np.all(found == NOT_LISTED):
        shown = names_lib.shortened(list(listed))
        raise ValueError(f'groups={str(source)!r}: names no user, identity or image ({shown})')
    return found.astype(str)


def _parents(store: store_lib.UserStore) -> np.ndarray:
    folders = [posixpath.dirname(name) for name in store.identity_names]
    if all(folders):
        return np.array(folders)[store.identities]
    names = store.example_names or []
    around = [posixpath.dirname(posixpath.dirname(name)) for name in names]
    if not around or not all(around):
        raise ValueError(
            f'groups={PARENT}: no folder is around those of the identities; name a list with a'
            ' line "name,group" for each user, identity or image'
        )
    return np.array(around)


def _read(path: Union[str, 'os.PathLike[str]']) -> dict[str, str]:
    listed: dict[str, str] = {}
    for number, line in enumerate(lists.read_lines(path), start=1):
        if not line.strip() or line.startswith('#'):
            continue
        delimiter = '\t' if '\t' in line else ','
        try:
            row = [field.strip() for field in next(csv.reader([line], delimiter=delimiter))]
        except csv.Error:
            row = []
        if len(row) != 2 or not all(row):
            shown = names_lib.printable(line)
            raise ValueError(f'{path}:{number}: {shown!r}: expected "name,group"')
        name = names_lib.normal(row[0])
        if listed.setdefault(name, row[1]) != row[1]:
            raise ValueError(
                f'{path}:{number}: {row[0]!r} is in group {listed[name]!r} already'
            )
    return listed
