"""What there is to be asked for: classes, and columns with their types and meanings."""

from __future__ import annotations

from fink_broker.connectors.hbase_read import Stretch
from fink_broker.query import computed
from fink_broker.query.tables import Tables
from fink_broker.surveys.lookups import Question

_MOST = 1_000


def labels(tables: Tables) -> dict[str, list[str]]:
    """The classes that alerts have, by where they come from, each as it is asked for: ``(TNS) SN Ia``."""
    api = tables.lookups.api
    found = {title: sorted(names, key=str.lower) for title, names in api.classes.items()}
    known = {name for names in found.values() for name in names}
    for begin, question in api.labels.items():
        title = f"Cross-match with {begin.strip(' ()')}"
        found[title] = [f"{begin}{name}" for name in present(tables, question) if name not in known]
    return found


def present(tables: Tables, question: Question) -> list[str]:
    """The names that a table by names has rows of: a question for each, not a look at all rows."""
    lookup = tables.lookup(question)
    found: list[str] = []
    first = b"0"
    while len(found) < _MOST:
        rows = tables.reader.stretches(lookup.table, [Stretch(first, b"")], limit=2)  # the schema's row may be one
        if not rows:
            break
        # A name, the time, the object: names may have the divider in them.
        name = rows[0][0].decode().rsplit("_", 2)[0]
        found.append(name)
        first = Stretch.times(lookup.begin(name)).end
    return sorted(found, key=str.lower)


def schema(tables: Tables) -> dict[str, dict[str, dict[str, str]]]:
    """Columns of an object's alerts: title of the family to name to its type, of computed ones also what they are."""
    known = tables.lookups
    found: dict[str, dict[str, dict[str, str]]] = {title: {} for title in known.api.families.values()}
    for column, kind in sorted(tables.kinds(tables.lookup("object").table).items()):
        family, _, name = column.partition(":")
        title = known.api.families.get(family, family)
        found.setdefault(title, {})[name] = {"type": kind}
    if known.computed is not None:
        family = computed.FAMILY.removesuffix(":")
        made = {name.partition(":")[2]: {"type": kind, "doc": about} for name, (kind, about) in sorted(computed.DOCS.items())}
        found[known.api.families.get(family, family)] = made
    return found
