"""Writes a store, user by user."""

from collections.abc import Sequence
import contextlib
import os
import pathlib
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb import randomness
from dp_fedemb.data import example_spec as spec_lib
from dp_fedemb.data import store_format


class UserStoreWriter:
    """Writes a store beside its place and moves it there when complete.

        with UserStoreWriter(path, (28, 28, 1)) as writer:
            writer.add_user(images, identities, name='alice')

    Identities are known by name (text or number) and numbered 0, 1, 2, ... in the
    order of their first appearance, so two stores never agree on numbers: compare
    `identity_names` instead.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike],
        example_spec: spec_lib.SpecLike,
        source: Optional[dict[str, Any]] = None,
        max_examples_per_user: Optional[int] = None,
        seed: int = 0,
    ):
        """Starts writing.

        Args:
            path: where the store will be; must not exist.
            example_spec: shape and type of every example; a bare shape, as (H, W, C), is
                that of uint8 images.
            source: what the store is made from, kept in meta.json (JSON-able).
            max_examples_per_user: users with more examples keep this many, chosen by
                the user's name and `seed`; None keeps all.
            seed: of that choice.

        Raises:
            FileExistsError: if there is something at `path`.
        """
        self._path = pathlib.Path(path).absolute()
        self._spec = spec_lib.ExampleSpec.of(example_spec)
        self._source = source or {}
        self._limit = max_examples_per_user
        self._seed = seed
        self._users_cut = 0
        self._examples_dropped = 0
        self._identities: list[np.ndarray] = []
        self._splits = [0]
        self._users: dict[str, None] = {}
        self._example_names: list[str] = []
        self._identity_numbers: dict[str, int] = {}
        self._closing = contextlib.ExitStack()
        self._draft = self._closing.enter_context(
            files.appearing_directory(self._path, mode=0o700)
        )
        self._file = open(self._draft / store_format.EXAMPLES, 'wb')

    def add_user(
        self,
        examples: np.ndarray,
        identities: Sequence[Union[int, str]],
        name: Optional[str] = None,
        example_names: Optional[Sequence[str]] = None,
    ) -> None:
        """Appends one user.

        Args:
            examples: [n, *shape], n >= 1, of the store's type.
            identities: n names (text or numbers), one per example.
            name: of the user, who is one privacy unit; the user's index by default.
            example_names: n names, for all users or for none.

        Raises:
            ValueError: for another shape or type, no example, values that are not
                finite, names of examples for some users only, or a name that another
                user has.
        """
        examples = np.asarray(examples)
        self._spec.check(examples, f'user {name!r}')
        if not len(examples):
            raise ValueError(
                f'user {name!r}: no examples, expected at least one; a place without data is'
                ' made by add_absent_user'
            )
        if examples.dtype.kind == 'f' and not np.all(np.isfinite(examples)):
            raise ValueError(f'user {name!r}: examples hold values that are not finite')
        if len(identities) != len(examples):
            raise ValueError(
                f'user {name!r}: {len(identities)} identities for {len(examples)} examples,'
                ' expected one for each'
            )
        names = [] if example_names is None else list(example_names)
        others_have = bool(self._example_names) if self._splits[-1] else bool(names)
        if len(names) not in (0, len(examples)) or bool(names) != others_have:
            raise ValueError(
                f'user {name!r}: {len(names)} names of {len(examples)} examples, expected one'
                ' for each example of all users, or none'
            )
        text = self._add_name(name)
        if self._limit is not None and len(examples) > self._limit:
            kept = self._sample(text, len(examples), self._limit)
            examples, identities = examples[kept], [identities[row] for row in kept]
            names = [names[row] for row in kept] if names else []
        self._example_names.extend(map(store_format.text_of, names))
        numbers = self._identity_numbers
        known_as = map(store_format.name_of, identities)
        of_user = [numbers.setdefault(identity, len(numbers)) for identity in known_as]
        self._identities.append(np.array(of_user, np.int32))
        self._file.write(np.ascontiguousarray(examples).data)
        self._splits.append(self._splits[-1] + len(examples))

    def add_absent_user(self, name: str) -> None:
        """Appends a place of the roster that has no data.

        The place counts as a user in every privacy analysis. Where users are grouped
        whole, a group that it joins contributes nothing.

        Raises:
            ValueError: for a name that another user has.
        """
        self._add_name(name)
        self._splits.append(self._splits[-1])

    def _add_name(self, name: Optional[str]) -> str:
        text = store_format.name_of(len(self._users) if name is None else name)
        if text in self._users:
            raise ValueError(
                f'user {text!r}: was added before, and a privacy unit must be one user; add'
                ' all examples of a user at once'
            )
        self._users[text] = None
        return text

    def _sample(self, name: str, count: int, limit: int) -> np.ndarray:
        """Rows that stay; the same whatever other users there are."""
        generator = randomness.generator(self._seed, f'max_examples_per_user/{name}')
        self._users_cut += 1
        self._examples_dropped += count - limit
        return np.sort(generator.choice(count, limit, replace=False))

    def __enter__(self) -> 'UserStoreWriter':
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._file.close()
        if kind is None and not self._splits[-1]:
            error = ValueError(f'{self._path}: no example was added; nothing was written')
            self._closing.__exit__(type(error), error, None)
            raise error
        if kind is None:
            self._finish()
        self._closing.__exit__(kind, error, trace)

    def _finish(self) -> None:
        draft = self._draft
        np.save(draft / store_format.IDENTITIES, np.concatenate(self._identities))
        np.save(draft / store_format.USER_SPLITS, np.asarray(self._splits, np.int64))
        store_format.write_names(draft / store_format.USER_NAMES, self._users)
        store_format.write_names(draft / store_format.IDENTITY_NAMES, self._identity_numbers)
        if self._example_names:
            store_format.write_names(draft / store_format.EXAMPLE_NAMES, self._example_names)
        meta = {
            'format_version': store_format.FORMAT_VERSION,
            'example_shape': list(self._spec.shape),
            'example_dtype': self._spec.dtype,
            'num_examples': self._splits[-1],
            'num_users': len(self._users),
            'num_identities': len(self._identity_numbers),
            'users_cut': self._users_cut,
            'examples_dropped': self._examples_dropped,
            'source': self._source,
        }
        json_files.write(draft / store_format.META, meta)
