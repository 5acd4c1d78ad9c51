"""Other ways out: what is sent of an alert to a chat, a mailbox, another platform.

An adapter is a module or a file of one's own with `single(alert, options)`, which gives the requests for one alert, or
`summary(alerts, options)`, which gives the message for many, or both; see docs/outlets.md.
"""

from fink_broker.config.sections import Section
from fink_broker.outlets.alert import Alert
from fink_broker.outlets.request import Mail, Request

__all__ = ["Alert", "Mail", "Request", "Section"]
