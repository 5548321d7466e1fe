"""Stores that you wrote yourself: `DATA_DIR/train`, `DATA_DIR/test` and so on.

Each is a directory written by `dp_fedemb.data.UserStoreWriter`; docs/data.md shows how.
"""

import dataclasses

from dp_fedemb import data
from dp_fedemb import known_names
from dp_fedemb import validate
from tasks.shared import base
from tasks.shared import converted

NAME = 'stores'
_WHERE = 'a directory with the user stores train and test (and validation, public)'


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the task.

    Attributes:
        default_backbone: what training uses unless --backbone says otherwise.
    """

    default_backbone: str = 'resnet18'

    def __post_init__(self) -> None:
        backbones = known_names.backbones()
        validate.one_of('option default_backbone', self.default_backbone, backbones)


def build(config: base.TaskConfig) -> base.Task:
    """Opens the stores in `config.data_dir`; nothing is converted.

    Raises:
        FileNotFoundError: if train or test is missing.
        ValueError: for a spoiled store, images of different shapes, parts that share
            a user or an identity, or a limit per user.
    """
    options = base.parse_options(Options, config, NAME)
    if config.max_examples_per_user is not None:
        raise ValueError(
            f'max_examples_per_user={config.max_examples_per_user}: task {NAME} takes stores'
            ' as they are; give the limit to UserStoreWriter'
        )
    data_dir = base.require_data_dir(config, NAME, _WHERE)
    stores = {
        part: data.UserStore.open(data_dir / part)
        for part in base.PARTS
        if part in ('train', 'test') or (data_dir / part).is_dir()
    }
    for store in stores.values():
        if store.example_spec != stores['train'].example_spec:
            raise ValueError(
                f'{store.path}: examples of {store.example_spec}, those of train are'
                f' of {stores["train"].example_spec}'
            )
    converted.check_disjoint(stores)
    return base.Task(
        name=NAME,
        description='user stores',
        default_backbone=options.default_backbone,
        **stores,
    )
