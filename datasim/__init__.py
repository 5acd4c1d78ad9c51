"""The simulated telescope: real ZTF alerts as templates, a night made of them, and broken messages for tests."""

from fink_broker.config import CHECKOUT

TEMPLATES = CHECKOUT / "datasim" / "templates.parquet"
