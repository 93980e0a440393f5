"""The Python SDK: `with StarClient() as star: star.jobs.create(...)`."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from star_client.accounts import ApiKeys, AuditLog, BaseModels, DataRetentions, Projects, Usages, Workers
from star_client.adapters import Adapters
from star_client.candidates import Candidates
from star_client.connection import find_connection
from star_client.jobs import Jobs
from star_client.money.bills import Bills
from star_client.never_solved import NeverSolved
from star_client.quality.promotions import Promotions
from star_client.quality.prompt_drafts import PromptDrafts
from star_client.quality.review import Reviews
from star_client.quality.search import Search
from star_client.quality.shares import Shares
from star_client.quality.studies import Studies
from star_client.quality.thoughts import Thoughts
from star_client.resources import Answers, Datasets, Models, Presets, PromptSets, Rationales
from star_client.transport import Transport
from star_client.verifiers import Verifiers
from star_client.webhooks import Webhooks


class StarClient:
    """A client for one server and API key, found as star_client.connection describes. Raises StarError.

    Every answer is a frozen, typed object (star_client.objects). Requests that may be repeated are, for a
    while, when the server is away or busy.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`pause` is how seconds pass between attempts."""
        self._transport = Transport(find_connection(base_url, api_key), pause)
        self.base_url = self._transport.base_url
        self.datasets = Datasets(self._transport)
        self.prompt_sets = PromptSets(self._transport)
        self.prompt_drafts = PromptDrafts(self._transport)
        self.verifiers = Verifiers(self._transport)
        self.models = Models(self._transport)
        self.presets = Presets(self._transport)
        self.jobs = Jobs(self._transport)
        self.rationales = Rationales(self._transport)
        self.answers = Answers(self._transport)
        self.search = Search(self._transport)
        self.candidates = Candidates(self._transport)
        self.thoughts = Thoughts(self._transport)
        self.never_solved = NeverSolved(self._transport)
        self.adapters = Adapters(self._transport)
        self.promotions = Promotions(self._transport)
        self.shares = Shares(self._transport)
        self.reviews = Reviews(self._transport)
        self.studies = Studies(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.projects = Projects(self._transport)
        self.base_models = BaseModels(self._transport)
        self.api_keys = ApiKeys(self._transport)
        self.data_retention = DataRetentions(self._transport)
        self.usage = Usages(self._transport)
        self.bills = Bills(self._transport)
        self.audit = AuditLog(self._transport)
        self.workers = Workers(self._transport)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> StarClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
