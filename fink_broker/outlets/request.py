"""What adapters give: a request to a server, or a mail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request over HTTP.

    Parameters
    ----------
    body : object
        What JSON can say; None for nothing.
    path : str
        Behind the outlet's URL; empty for that itself.
    method : str
        ``POST``, ``PUT``, ``GET``.
    known : str
        Regular expression: found in an answer 4xx, it says that the server has this already, from an earlier delivery.
    """

    body: Any = None
    path: str = ""
    method: str = "POST"
    known: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path or '/'}" + ("" if self.body is None else f" {json.dumps(self.body)}")


@dataclass(frozen=True)
class Mail:
    """A mail, plain text."""

    sender: str
    to: list[str] = field(default_factory=list)
    subject: str = ""
    text: str = ""

    def __str__(self) -> str:
        return f"from {self.sender} to {', '.join(self.to)}: {self.subject}\n{self.text}"
