"""An Amazon SQS queue over plain HTTP: receive a few messages, delete those that are stored.

Speaks the queue's JSON protocol. A message that is received stays hidden for a while and comes
again if nobody deletes it: so it is deleted only when what it said is durable.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from inventory_pipeline.config.secrets import Secret
from inventory_pipeline.connectors.amazon_sigv4 import signed_headers
from inventory_pipeline.connectors.http import Caller, Kind, Purpose, Trouble, as_error, understood
from inventory_pipeline.core.errors import HubError

AT_ONCE = 10  # the most that one call receives or deletes
HIDDEN_S = 120  # how long a received message waits to be deleted
REGION = re.compile(r"sqs[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.|^([a-z]{2}(?:-[a-z]+)+-\d)\.queue\.")
CREDENTIALS_HINT = (
    "check the queue's address and policy, aws_access_key_id and aws_secret_access_key in the "
    "environment, and that this machine's clock is right."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received message; `handle` deletes it."""

    id: str
    handle: str
    text: str


class Queue:
    """One queue. `clock` dates the signatures."""

    def __init__(
        self,
        *,
        system: str,
        url: str,
        region: str,
        key_id: Secret,
        secret: Secret,
        session_token: Secret | None,
        wait_s: int,
        timeout_s: float,
        clock: Callable[[], datetime],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.system = system
        self._url = url
        self._region = region or _region_of(url, system)
        self._key_id = key_id
        self._secret = secret
        self._session_token = session_token
        self._wait_s = wait_s
        self._clock = clock
        self._endpoint = str(httpx.URL(url).copy_with(path="/"))
        self._caller = Caller(
            system=system,
            base_url=self._endpoint,
            timeout_s=timeout_s + wait_s,
            transport=transport,
        )

    def close(self) -> None:
        self._caller.close()

    def receive(self) -> list[Message]:
        """Up to ten messages; waits for the first one. Raises SourceError."""
        call = "ReceiveMessage"
        body = self._ask(
            call,
            {
                "MaxNumberOfMessages": AT_ONCE,
                "WaitTimeSeconds": self._wait_s,
                "VisibilityTimeout": HIDDEN_S,
            },
        )
        with understood(Purpose.SOURCE, system=self.system, call=call):
            return [
                Message(
                    id=str(one["MessageId"]),
                    handle=str(one["ReceiptHandle"]),
                    text=str(one["Body"]),
                )
                for one in body.get("Messages") or []
            ]

    def delete(self, handles: Sequence[str]) -> None:
        """Deletes what is stored. One that cannot be deleted comes again and is recognized then.

        Raises SourceError if the queue cannot be asked.
        """
        for start in range(0, len(handles), AT_ONCE):
            batch = handles[start : start + AT_ONCE]
            entries = [{"Id": str(n), "ReceiptHandle": h} for n, h in enumerate(batch)]
            self._ask("DeleteMessageBatch", {"Entries": entries})

    def _ask(self, call: str, request: dict[str, Any]) -> Any:
        content = json.dumps({"QueueUrl": self._url, **request}).encode()
        headers = signed_headers(
            url=self._endpoint,
            headers={
                "content-type": "application/x-amz-json-1.0",
                "x-amz-target": f"AmazonSQS.{call}",
            },
            body=content,
            key_id=self._key_id.reveal(),
            secret=self._secret,
            session_token=self._session_token,
            region=self._region,
            service="sqs",
            now=self._clock(),
        )
        try:
            return self._caller.once("POST", "/", content=content, headers=headers).body
        except Trouble as trouble:
            if trouble.kind is Kind.REFUSED:
                trouble.hint = CREDENTIALS_HINT
            raise as_error(trouble, Purpose.SOURCE, system=self.system, call=call) from trouble


def _region_of(url: str, system: str) -> str:
    found = REGION.search(httpx.URL(url).host)
    if found is None:
        raise HubError(
            f"hub.yaml: systems.{system}.options.queue_url names no region",
            hint="set `aws_region`, like us-east-1.",
        )
    return found[1] or found[2]
