"""The progress bar of training: round, examples/s, epsilon so far, time left."""

import sys
import time

import tqdm

_FORMAT = 'round {n_fmt}/{total_fmt} |{bar:20}|{postfix} [{elapsed}<{remaining}]'


class TrainingBar:
    """On a terminal one moving line, in a log a line each half minute.

    Rates are for the operator's eyes; no file gets them, since they follow from how
    many private examples a round had.
    """

    def __init__(self, rounds: int, start: int) -> None:
        terminal = sys.stderr.isatty()
        self._bar = tqdm.tqdm(
            total=rounds,
            initial=start,
            bar_format=_FORMAT,
            mininterval=0.2 if terminal else 30,
            maxinterval=1 if terminal else 30,
            ascii=None if terminal else True,
            file=sys.stderr,
        )
        self._examples = 0
        self._seconds = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> 'TrainingBar':
        return self

    def __exit__(self, *unused: object) -> None:
        self._bar.close()

    def round_begins(self) -> None:
        """Starts the clock; evaluation and checkpoints between rounds do not count."""
        self._began = time.monotonic()

    def round_computed(self, examples: int) -> None:
        """Stops the clock.

        Args:
            examples: local examples in the round, times the local epochs.
        """
        self._seconds += time.monotonic() - self._began
        self._examples += examples

    def round_ended(self, spent: str, extra: str = '') -> None:
        """Moves the bar.

        Args:
            spent: the epsilon so far, in words.
            extra: further text, for instance the last recall.
        """
        rate = f'{self._examples / max(self._seconds, 1e-9):,.0f} examples/s'
        self._bar.set_postfix_str(', '.join(filter(None, (rate, spent, extra))), refresh=False)
        self._bar.update()
