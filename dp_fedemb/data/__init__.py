"""User-partitioned image stores, and how virtual clients read them."""

from dp_fedemb.data.store import UserStore
from dp_fedemb.data.store import UserStoreWriter
