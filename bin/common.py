"""What every binary starts with: the checkout on the path, errors in one line."""

from collections.abc import Callable
import pathlib
import sys

from absl import app
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# What the library raises for input that a user can mend.
_USER_ERRORS = (ValueError, FileNotFoundError, FileExistsError, NotADirectoryError)


def run(main: Callable[[list[str]], None], positional: int = 0) -> None:
    """Runs `main(arguments)` under absl; exits with 1 and one line on bad input.

    Args:
        main: gets the positional arguments, without the program's name.
        positional: how many of them are allowed.
    """

    def checked(argv):
        extra = argv[1 + positional :]
        if extra:
            raise app.UsageError(f'unexpected argument {extra[0]!r}; flags start with --')
        try:
            main(argv[1:])
        except _USER_ERRORS as error:
            if flags.FLAGS.debug:
                raise
            sys.exit(f'error: {" ".join(str(error).split())}')

    flags.DEFINE_bool('debug', False, 'Show the whole trace of an error.')
    app.run(checked)
