"""Settings: typed, read from one TOML file and the environment, secrets masked.

Order, later wins: the defaults below, the file (``-c``, else ``FINK_CONF``, else ``conf/fink.conf``), the environment.
A key ``[kafka.input] servers`` is ``FINK_KAFKA__INPUT__SERVERS`` in the environment; the top-level key ``home`` is
``FINK__HOME``, because ``FINK_HOME`` is the checkout.
"""

from fink_broker.config.loading import DEFAULT_CONF, conf_path, from_environment, load, variables, without_secrets
from fink_broker.config.settings import CHECKOUT, Settings

__all__ = ["CHECKOUT", "DEFAULT_CONF", "Settings", "conf_path", "from_environment", "load", "variables", "without_secrets"]
