"""Where a run's backbone begins, and whose images it has seen by then."""

from collections.abc import Callable
import dataclasses
import os
from typing import Union

from dp_fedemb.models import embedding_model
from dp_fedemb.models import pretrained
from dp_fedemb.models import weight_values


@dataclasses.dataclass(frozen=True)
class Start:
    """Start weights, made when they are needed.

    Attributes:
        load: makes (trainable, non_trainable) values of the backbone.
        origin: whose images they have seen.
    """

    load: Callable[[], weight_values.WeightValues]
    origin: pretrained.Origin

    @classmethod
    def from_saved_model(
        cls,
        directory: Union[str, 'os.PathLike[str]'],
        model: embedding_model.EmbeddingModel,
        partial: bool = False,
        public: bool = False,
    ) -> 'Start':
        """Returns the start from a SavedModel, or the one in a run's directory.

        Args:
            directory: where it is.
            model: whose backbone begins there.
            partial: see `pretrained.load`.
            public: the caller's word that it has seen no private user, where no statement
                beside it says what it has seen.

        Raises:
            FileNotFoundError: if there is none.
        """
        origin = pretrained.read_origin(directory)
        if public and origin.text.startswith('not stated'):
            origin = pretrained.Origin('stated by whoever trains to be public', False)

        def load() -> weight_values.WeightValues:
            weights, report = pretrained.load(directory, model, partial)
            print(report, flush=True)
            return weights

        return cls(load, origin)
