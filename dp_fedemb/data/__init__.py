"""User-partitioned stores of examples, and how virtual clients read them."""

from dp_fedemb.data.example_spec import ExampleSpec
from dp_fedemb.data.store import UserStore
from dp_fedemb.data.store_writer import UserStoreWriter
