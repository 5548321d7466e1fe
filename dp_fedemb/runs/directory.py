"""What a run leaves on disk, and whether a second command continues it.

config.json       what was asked for, without secrets; another one is refused
metrics.csv       one row a round
tensorboard/      the same as TensorBoard events
checkpoints/      TFF program states; they hold the run's SECRET seed
privacy.json      the privacy statement of the rounds released so far
privacy.txt       the same for people
saved_model/      the backbone: uint8 images in, unit-norm embeddings out
pretrained/       the public start, if the run made one
evaluation.json   recall before and after
"""

import json
import os
import pathlib
import shutil
from typing import Any, Optional, Union

from dp_fedemb import privacy

# What a config.json from before an option existed means by not naming it.
_ABSENT = {
    'plan.sampling.grouping': 'slots',
    'training.client.local_lr_schedule': 'constant',
}


class RunDirectory:
    """Paths of a run, and files that appear whole or not at all."""

    def __init__(self, path: Union[str, os.PathLike]):
        self.path = pathlib.Path(path).absolute()
        self.metrics = self.path / 'metrics.csv'
        self.tensorboard = self.path / 'tensorboard'
        self.checkpoints = self.path / 'checkpoints'
        self.saved_model = self.path / 'saved_model'
        self.pretrained = self.path / 'pretrained'

    def check(self, config: dict[str, Any]) -> None:
        """Refuses a directory of another run, before anything costly happens.

        Args:
            config: JSON values that decide what the run computes; no secrets.

        Raises:
            NotADirectoryError: if there is a file at the path.
            FileExistsError: if the directory holds something that is no run.
            ValueError: if it belongs to a run with another configuration.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f'output_dir={str(self.path)!r}: is a file')
        known = self._config()
        if known is None:
            if self.path.exists() and any(self.path.iterdir()):
                raise FileExistsError(
                    f'output_dir={str(self.path)!r}: is not empty and holds no run; choose'
                    ' another directory'
                )
            return
        different = _difference(known, json.loads(json.dumps(config)))
        if different:
            name, old, new = different
            raise ValueError(
                f'output_dir={str(self.path)!r}: belongs to a run with {name}={old!r}, not'
                f' {new!r}; choose another directory, or the settings in its config.json'
            )

    def begin(self, config: dict[str, Any]) -> None:
        """Makes the directory and notes the configuration.

        Raises:
            NotADirectoryError, FileExistsError, ValueError: see `check`.
        """
        self.check(config)
        if self._config() is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_json('config.json', config)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file."""
        self.write_text(name, json.dumps(value, indent=2) + '\n')

    def read_json(self, name: str) -> Optional[Any]:
        """Returns the contents of a JSON file, None if there is none."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None

    def write_text(self, name: str, text: str) -> None:
        """Writes a file in one step."""
        draft = self.path / f'{name}.partial'
        draft.write_text(text)
        draft.replace(self.path / name)

    def write_statement(self, statement: dict[str, Any]) -> None:
        """Writes the privacy statement, as JSON and as text."""
        self.write_json('privacy.json', statement)
        self.write_text('privacy.txt', privacy.statement_text(statement))

    def replace_directory(self, path: pathlib.Path, write) -> None:
        """Replaces a directory by what `write(draft)` puts into an empty one."""
        draft = path.with_name(f'{path.name}.partial')
        old = path.with_name(f'{path.name}.old')
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)
        write(draft)
        if path.exists():
            path.rename(old)
        draft.rename(path)
        shutil.rmtree(old, ignore_errors=True)

    def _config(self):
        try:
            return self.read_json('config.json')
        except json.JSONDecodeError as error:
            raise ValueError(
                f'{self.path}/config.json: not JSON ({error}); choose another output_dir'
            ) from None


def _difference(known, asked, prefix=''):
    """First difference of two nested dicts: (dotted name, known, asked), or None."""
    for name in sorted({*known, *asked}):
        old, new = known.get(name, _ABSENT.get(f'{prefix}{name}')), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _difference(old, new, f'{prefix}{name}.')
            if inner:
                return inner
        elif old != new:
            return f'{prefix}{name}', old, new
    return None
