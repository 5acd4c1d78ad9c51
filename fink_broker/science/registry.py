"""Which science modules there are, and which of them run, in which order."""

from __future__ import annotations

import difflib
import importlib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

from fink_broker import science
from fink_broker.catalogues import store
from fink_broker.config import Settings
from fink_broker.config.own import ScienceModule
from fink_broker.errors import ConfigError
from fink_broker.infra import environments
from fink_broker.plugins import Reference
from fink_broker.science.describe import SECONDS, Description, describe, describe_in
from fink_broker.science.module import Module
from fink_broker.surveys import Survey

COMMUNITY = "fink."  # modules of the package fink-science


def known(settings: Settings, survey: Survey) -> dict[str, ScienceModule]:
    """All modules by name: the broker's own for the survey, those of fink-science, and what the configuration adds or changes."""
    found = {**_own(survey), **community(survey)}
    for entry in settings.science_section.modules:
        said = {name: getattr(entry, name) for name in entry.model_fields_set}
        found[entry.name] = found[entry.name].model_copy(update=said) if entry.name in found else entry
    return found


def _own(survey: Survey) -> dict[str, ScienceModule]:
    package = f"{science.__name__}.{survey.name}"
    if find_spec(package) is None:
        return {}
    functions = vars(importlib.import_module(package)).items()
    return {name: ScienceModule(name=name, function=f"{package}:{name}") for name, value in functions if hasattr(value, "fink_outputs")}


def community(survey: Survey) -> dict[str, ScienceModule]:
    """The modules of fink-science for a survey: what each gets and gives, as data; whether they can run is another matter."""
    file = Path(__file__).with_name(f"fink_science_{survey.name}.toml")
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["modules"] if file.exists() else []
    return {entry["name"]: ScienceModule.model_validate(entry) for entry in entries}


def active(settings: Settings, survey: Survey) -> list[Module]:
    """The modules that run: those that ``[raw2science] modules`` names and those of ``[[science.modules]]``, if they are on.

    Returns
    -------
    list of Module
        In an order in which each comes after those whose columns it takes; beside that, in the order of the configuration.

    Raises
    ------
    ConfigError
        A name is unknown, a function does not import or does not say its outputs, two modules make the same column, or they wait for
        each other.
    """
    definitions = known(settings, survey)
    names = dict.fromkeys([*settings.raw2science.modules, *(one.name for one in settings.science_section.modules)])
    chosen = [_named(name, definitions) for name in names]
    return ordered(resolve(settings, [one for one in chosen if one.on]))


def _named(name: str, definitions: Mapping[str, ScienceModule]) -> ScienceModule:
    if name not in definitions:
        own = [one for one in definitions if not one.startswith(COMMUNITY)]
        near = difflib.get_close_matches(name, definitions, n=1)
        raise ConfigError(f"unknown science module '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(own)}"))
    return definitions[name]


def resolve(settings: Settings, entries: Sequence[ScienceModule]) -> list[Module]:
    """Modules from their entries: functions are looked up in the environment that they run in.

    Raises
    ------
    ConfigError
        One of them cannot be used, or a catalogue that it needs is missing or empty.
    """
    return [_module(settings, entry, found) for entry, found in zip(entries, descriptions(settings, entries), strict=True)]


def descriptions(settings: Settings, entries: Sequence[ScienceModule]) -> list[Description]:
    """What the functions of modules say of themselves; those that cannot be used have a fault."""
    references = [reference(settings, entry) for entry in entries]
    if not settings.science_section.environment or not references:
        return [describe(one) for one in references]
    return describe_apart(settings, references)


def describe_apart(settings: Settings, references: Sequence[Reference], seconds: float = SECONDS) -> list[Description]:
    """Describe functions in a process of the environment that they run in, which they cannot harm ours from.

    Raises
    ------
    ConfigError
        It does not run, or one of them ended it or took longer than it may.
    """
    name = settings.science_section.environment
    python = environments.python(settings, name) if name else Path(sys.executable)
    kept = (environments.folder(settings, name) if name else settings.root / "tmp") / "described"
    return describe_in(python, references, environments.variables(), kept, seconds)


def columns_of(title: str, columns: Sequence[str] | None, constants: Mapping[str, object], found: Description) -> tuple[str, ...]:
    """The columns that a function takes: those that are said, else its arguments that are no constants.

    Raises
    ------
    ConfigError
        They do not fit its arguments; the message begins with the title.
    """
    inputs = tuple(columns if columns is not None else [name for name in found.arguments if name not in constants])
    unknown = [name for name in constants if name not in found.arguments]
    if unknown or not found.required <= len(inputs) + len(constants) <= len(found.arguments):
        takes = f"the function of {title} takes ({', '.join(found.arguments)})"
        raise ConfigError(f"{takes}: " + (f"no constant '{unknown[0]}'" if unknown else f"{len(inputs)} columns do not fit"))
    return inputs


def reference(settings: Settings, entry: ScienceModule) -> Reference:
    """Where the function of a module is."""
    source, _, function = entry.function.partition(":")
    if source.endswith(".py"):
        source = str(settings.below_checkout(Path(source).expanduser()))
    if not source:
        raise ConfigError(
            f'the science module \'{entry.name}\' needs a function in [[science.modules]]: "file.py" or "package.module:function"'
        )
    return Reference(source, function or entry.name.rpartition(".")[2])


def _module(settings: Settings, entry: ScienceModule, found: Description) -> Module:
    if found.fault:
        raise ConfigError(f"the science module '{entry.name}': {found.fault}{_advice(settings, entry)}")
    inputs = columns_of(f"the science module '{entry.name}'", entry.columns, entry.constants, found)
    for name in found.catalogues:
        store.note(settings.root, name)
    common = settings.science_section
    return Module(
        name=entry.name,
        reference=reference(settings, entry),
        inputs=inputs,
        outputs=_outputs(entry, found),
        constants=entry.constants,
        pick=entry.pick,
        by_row=found.by_row,
        timeout_s=entry.timeout_seconds or common.timeout_seconds,
        batch=entry.batch,
        isolate=entry.isolate,
        away=entry.away,
        offline=entry.remote and common.offline,
        keep_hours=entry.keep_hours,
        catalogues=entry.catalogues,
        version=found.version,
    )


def _advice(settings: Settings, entry: ScienceModule) -> str:
    if entry.name.startswith(COMMUNITY) and not settings.science_section.environment:
        name = settings.survey
        return f'; it runs in an environment of its own: fink science install {name}, then [science] environment = "{name}"'
    return ""


def _outputs(entry: ScienceModule, found: Description) -> dict[str, str]:
    """Columns with their types: as the entry says, else as the function does."""
    if entry.outputs:
        return entry.outputs
    if entry.pick:
        types = {column: found.type if key == "*" else found.parts.get(key, found.parts.get("*", "")) for column, key in entry.pick.items()}
        if all(types.values()):
            return types
    elif found.outputs:
        return found.outputs
    elif found.type:
        name = entry.name.rpartition(".")[2]
        return found.parts if found.parts and "*" not in found.parts else {name: found.type}
    raise ConfigError(
        f"the science module '{entry.name}' does not say what it returns: decorate it with @outputs({entry.name}=\"double\"), "
        f'or add outputs = {{ {entry.name} = "double" }} to its entry'
    )


def ordered(modules: Iterable[Module]) -> list[Module]:
    """Each module after those whose columns it takes, else as they come.

    Raises
    ------
    ConfigError
        Two make the same column, or they wait for each other.
    """
    makers: dict[str, Module] = {}
    for module in modules:
        for column in module.outputs:
            if column in makers:
                pair = f"'{makers[column].name}' and '{module.name}'"
                raise ConfigError(f"the science modules {pair} both make the column '{column}': switch one off")
            makers[column] = module
    by_name = {module.name: module for module in modules}
    needs = {one.name: [makers[column].name for column in one.inputs if column in makers] for one in by_name.values()}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(f"science modules wait for each other's columns: {' -> '.join(reversed(error.args[1]))}") from error
    places, done = {name: place for place, name in enumerate(by_name)}, []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=places.__getitem__)
        done.append(ready.pop(0))
        sorter.done(done[-1])
    return [by_name[name] for name in done]
