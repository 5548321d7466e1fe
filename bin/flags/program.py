"""What every binary starts with: its flags parsed, errors in one line."""

from collections.abc import Callable
import os
import sys

from absl import app
from absl import flags
from absl import logging

# TensorFlow logs GPUs that it does not find as errors; what matters it raises.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# What the library raises for input that a user can mend.
_USER_ERRORS = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError)


def run(main: Callable[[list[str]], None], positional: int = 0) -> None:
    """Runs `main(arguments)` with parsed flags; exits with 1 and one line on bad input.

    Args:
        main: gets the positional arguments, without the program's name.
        positional: how many of them are allowed.
    """

    # Not `app.run`: TensorFlow, imported after it, counts devices at once, before it has
    # turned on TF 2 behaviour, and Keras then builds graphs of TF 1.
    flags.DEFINE_bool('debug', False, 'Show the whole trace of an error.')
    _show_in_help('flags.from_settings', 'flags.groups', 'flags.plan_flags')
    app.define_help_flags()
    arguments = app.parse_flags_with_usage(sys.argv)[1:]
    logging.use_absl_handler()
    try:
        if arguments[positional:]:
            raise ValueError(
                f'unexpected argument {arguments[positional]!r}; flags start with --'
            )
        main(arguments)
    except _USER_ERRORS as error:
        if flags.FLAGS.debug:
            raise
        sys.exit(f'error: {" ".join(str(error).split())}')


def _show_in_help(*modules: str) -> None:
    """Lets --help list the flags that shared modules defined for this program."""
    of_module = flags.FLAGS.flags_by_module_dict()
    for module in modules:
        for flag in of_module.get(module, ()):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
