"""Flags that several commands of bin/privacy.py read."""

from absl import flags

from dp_fedemb import validate

FLAGS = flags.FLAGS


def num_users() -> int:
    """Returns N.

    Raises:
        ValueError: if it is not given.
    """
    if FLAGS.num_users is None:
        raise ValueError('num_users is not given: set it to the size of the population')
    return FLAGS.num_users


def noise_multiplier(command: str) -> float | None:
    """Returns z; None where the mechanism has none.

    Raises:
        ValueError: if it is not given.
    """
    if FLAGS.noise_multiplier is None and FLAGS.mechanism not in ('none', 'clip_only'):
        raise ValueError(f'{command} without noise_multiplier: set it')
    return FLAGS.noise_multiplier


def target_epsilon(command: str) -> float:
    """Returns the target.

    Raises:
        ValueError: if it is not given.
    """
    if FLAGS.target_epsilon is None:
        raise ValueError(f'{command} without target_epsilon: set it')
    return FLAGS.target_epsilon


def refuse_given(command: str, name: str, other: str) -> None:
    """Raises ValueError if a flag is given that belongs to another command."""
    if FLAGS[name].value is not None:
        raise ValueError(f'{name}={FLAGS[name].value} with {command}: use {other}')


def whole_numbers(name: str, default: list[int]) -> list[int]:
    """Returns the distinct numbers of a flag in order.

    Raises:
        ValueError: for anything but whole numbers above 0.
    """
    if FLAGS[name].value is None:
        return default
    try:
        numbers = [validate.read_number(text, int) for text in FLAGS[name].value]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ValueError(f'{name}={FLAGS[name].value}: expected whole numbers above 0')
    return sorted(set(numbers))
