"""Entry point of the BUILD file's tests: pytest on the file named by the argument."""

import sys

import pytest

if __name__ == '__main__':
    sys.exit(pytest.main(sys.argv[1:]))
