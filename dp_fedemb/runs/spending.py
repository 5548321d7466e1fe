"""What a run spends, in the ledger beside the store of its users."""

import dataclasses
import pathlib
from typing import Any, Optional

from dp_fedemb import host_error
from dp_fedemb import privacy
from dp_fedemb import randomness
from dp_fedemb.privacy import budget
from dp_fedemb.privacy import ledger


@dataclasses.dataclass(frozen=True)
class Account:
    """The ledger of a store, as a run writes to it.

    Attributes:
        store: the store's directory.
        run: which spends.
        budget_epsilon: most that all runs on these users may cost together; None for any.
    """

    store: pathlib.Path
    run: privacy.PrivateRun
    budget_epsilon: Optional[float]

    @property
    def _name(self) -> str:
        """What the ledger calls the run; it tells nothing of the seed."""
        return randomness.key(self.run.secret_seed, 'name in the ledger').hex()[:32]

    def check(self) -> None:
        """Raises ValueError for a run whose plan overspends the budget."""
        if self.budget_epsilon is not None:
            budget.check(self.store, self.budget_epsilon, self.run.plan, self._name)

    def note(self, statement: dict[str, Any], directory: pathlib.Path, data: str) -> None:
        """Notes what is about to be released, unless as much is noted already.

        Args:
            statement: of the rounds.
            directory: of the run.
            data: fingerprint of the store's contents.

        Raises:
            ValueError: if the budget is spent, or the ledger cannot be written.
        """
        plan = self.run.plan
        entry = ledger.entry_of(statement, plan, self._name, directory, data)
        known = ledger.read(self.store).latest().get(entry.run)
        if (
            known is not None
            and known.rounds >= entry.rounds
            and known.epsilon == entry.epsilon
        ):
            return
        try:
            budget.begin(self.store, entry, self.budget_epsilon, plan=plan)
        except OSError as error:
            if host_error.of_the_host(error):
                raise
            raise ValueError(
                f'train={str(self.store)!r}: its ledger of releases cannot be written'
                f' ({error.strerror or error}); make the directory writable, or copy the store'
            ) from None
