"""Command lines and YAML files for config dataclasses: a field is a flag is a key."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ofa_bert.config import COMMANDS_OF
from ofa_bert.errors import InputError, closest, nearest
from ofa_bert.safe_text import is_label, one_line, short
from ofa_bert.settings_file import read_settings_file

Groups = Sequence[type]

MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class Flag:
    """One setting, as the command line and YAML see it."""

    name: str
    kind: type
    """Type of the value, or of each of many."""
    many: bool
    """Whether it takes a list."""
    default: Any
    """``dataclasses.MISSING`` where the user must say."""
    help: str
    choices: tuple[str, ...] | None
    parse: Callable[[Any], Any]
    const: Any
    """Value of the bare flag; None where a value must follow."""


def flags_of(group: type) -> dict[str, Flag]:
    """Read the flags of a config dataclass, by name."""
    hints = typing.get_type_hints(group)
    flags = {}
    for field in dataclasses.fields(group):
        hint = hints[field.name]
        inner = [t for t in typing.get_args(hint) if t not in (type(None), Ellipsis)]
        kind = inner[0] if inner else hint
        flags[field.name] = Flag(
            name=field.name,
            kind=kind,
            many=typing.get_origin(hint) is tuple,
            default=field.default,
            help=field.metadata["help"],
            choices=field.metadata["choices"],
            parse=field.metadata["parse"] or (_whole if kind is int else kind),
            const=field.metadata["const"],
        )
    return flags


def parse_args(
    prog: str,
    description: str,
    groups: Groups,
    argv: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    remembered: Groups = (),
) -> list[Any]:
    """Read a command line into one object of each dataclass in ``groups``, in that order.

    ``--config FILE.yaml`` gives values that flags override; ``defaults`` stand below both. Of the
    groups in ``remembered`` they are those of a run, which the help says.

    Raises:
        InputError: for an unknown flag or key (naming the nearest), a value of the wrong form, a
            missing required one, or a value that breaks a rule of its dataclass.
    """
    known = {name: flag for group in groups for name, flag in flags_of(group).items()}
    parsed, unknown = _build_parser(prog, description, groups, remembered).parse_known_args(argv)
    if unknown:
        name = unknown[0].split("=")[0]
        match = closest(name.lstrip("-"), known) if name.startswith("-") else None
        hint = f"did you mean --{match}?" if match else f"type {prog} --help for the flags"
        raise InputError(f"unknown argument {name!r}; {hint}")
    given = vars(parsed)
    path = given.pop("config", None)
    values = {**(defaults or {}), **({} if path is None else read_yaml(path, known)), **given}
    missing = [f"--{name}" for name in _missing(known, values)]
    if missing:
        raise InputError(f"missing {', '.join(missing)}; type {prog} --help for what they mean")
    return build(groups, values)


def build(groups: Groups, values: dict[str, Any]) -> list[Any]:
    """Make one object of each dataclass from a flat dictionary.

    Raises:
        InputError: if a required value is missing, or one breaks a rule of its dataclass.
    """
    missing = _missing({n: f for group in groups for n, f in flags_of(group).items()}, values)
    if missing:
        raise InputError(f"settings must say {', '.join(missing)}; they do not")
    return [
        group(**{name: values[name] for name in flags_of(group) if name in values})
        for group in groups
    ]


def _missing(known: Mapping[str, Flag], values: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, flag in known.items()
        if flag.default is dataclasses.MISSING and name not in values
    ]


def resolved(configs: Sequence[Any]) -> dict[str, Any]:
    """Give all settings of a run as one flat dictionary that ``--config`` reads back."""
    values: dict[str, Any] = {}
    for config in configs:
        for name, value in dataclasses.asdict(config).items():
            values[name] = list(value) if isinstance(value, tuple) else value
    return values


def to_argv(configs: Sequence[Any]) -> list[str]:
    """Write configs as the command line that ``parse_args`` reads them back from."""
    argv = []
    for config in configs:
        for name in flags_of(type(config)):
            value = getattr(config, name)
            if isinstance(value, bool):
                argv.append(f"--{name}" if value else f"--no-{name}")
            elif isinstance(value, tuple):
                argv += [f"--{name}", *map(str, value)] if value else []
            elif value is not None:
                argv.append(f"--{name}={value}")
    return argv


def read_yaml(path: str, known: dict[str, Flag]) -> dict[str, Any]:
    """Read a flat YAML file of settings, checking names and forms.

    Raises:
        InputError: if it is missing, not a flat mapping, or has a key that no flag bears.
    """
    return checked(read_settings_file(path, "config"), known, f"config {path}")


def checked(content: Mapping[Any, Any], known: Mapping[str, Flag], where: str) -> dict[str, Any]:
    """Check names and forms of settings that a file holds; ``where`` begins every message.

    Raises:
        InputError: if a name is none of ``known``, or a value has the wrong form.
    """
    values = {}
    for key, value in content.items():
        if key not in known:
            raise InputError(f"{where}: unknown key {short(key)}; {_hint_of(key, known)}")
        try:
            values[key] = _from_yaml(known[key], value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return values


def _hint_of(key: Any, known: Mapping[str, Flag]) -> str:
    """Say which commands have a setting of this name, and which of ours may be meant."""
    commands = next((names for group, names in COMMANDS_OF.items() if key in flags_of(group)), "")
    if not commands:
        return nearest(str(key), known)
    here = nearest(str(key), known) if closest(str(key), known) else "leave it out"
    return f"it is a setting of {commands}, not of this command; {here}"


def _from_yaml(flag: Flag, value: Any) -> Any:
    """Convert one YAML value as strictly as the command line would."""
    if value is None and flag.default is None:
        return None
    items = value if flag.many and isinstance(value, list) else [value]
    if flag.many is not isinstance(value, list) or not all(_fits(flag, item) for item in items):
        form = f"a list of {flag.kind.__name__}" if flag.many else f"one {flag.kind.__name__}"
        hint = f"; type {flag.const}, or leave it out" if flag.const is not None else ""
        if flag.many and isinstance(value, str | int | float):
            hint = f"; type {_as_list(value)}"
        raise InputError(f"{flag.name} must be {form}; got {short(value)}{hint}")
    converted = tuple(flag.parse(item) for item in items)
    if flag.choices and converted[0] not in flag.choices:
        raise InputError(
            f"{flag.name} must be one of {', '.join(flag.choices)}; got {short(value)}"
        )
    return converted if flag.many else converted[0]


def _as_list(value: str | float) -> str:
    """Write what was meant as a list as YAML has it."""
    words = str(value).replace(",", " ").split()
    return f"[{one_line(', '.join(words), 80)}]"


def _fits(flag: Flag, item: Any) -> bool:
    if flag.kind is bool or isinstance(item, bool):
        return flag.kind is bool and isinstance(item, bool)
    if flag.kind is int:
        return isinstance(item, int) and abs(item) <= MAX_INTEGER
    if flag.kind is str:
        return isinstance(item, str | int) and is_label(str(item))
    # YAML reads 2e-5 as a string: its floats need a point.
    try:
        flag.parse(item)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


class _Parser(argparse.ArgumentParser):
    """argparse that reports a mistake as our one-line error."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; type {self.prog} --help for the flags")


class _StoreTuple(argparse.Action):
    """Frozen dataclasses hold tuples."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _build_parser(prog: str, description: str, groups: Groups, remembered: Groups) -> _Parser:
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument(
        "--config", default=argparse.SUPPRESS, help="YAML file of these settings; flags override it"
    )
    for group in groups:
        title = (group.__doc__ or group.__name__).strip().splitlines()[0].rstrip(".")
        section = parser.add_argument_group(title)
        for flag in flags_of(group).values():
            options = _argparse_options(flag)
            if group in remembered:
                options["help"] = f"{flag.help} (default: the run's)".replace("%", "%%")
            section.add_argument(f"--{flag.name}", default=argparse.SUPPRESS, **options)
    return parser


def _whole(text: str | int) -> int:
    """Read a whole number, within the bounds of one in a file: ``rerun`` must read it again."""
    try:
        number = int(text)
    except ValueError:  # no number, or one of over 4300 digits
        raise InputError(f"invalid int value: {short(text)}") from None
    if abs(number) > MAX_INTEGER:
        raise InputError(f"must be from -{MAX_INTEGER} to {MAX_INTEGER}; got {short(text)}")
    return number


def _telling(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse hand on what ``parse`` says is wrong, which of other errors it drops."""

    def parse_or_tell(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_or_tell


def _argparse_options(flag: Flag) -> dict[str, Any]:
    options: dict[str, Any] = {"help": _help(flag).replace("%", "%%")}
    if flag.kind is bool:
        return {**options, "action": argparse.BooleanOptionalAction}
    options["type"] = flag.parse if flag.parse is flag.kind else _telling(flag.parse)
    if flag.choices:
        options["choices"] = flag.choices
    else:
        options["metavar"] = flag.kind.__name__.upper()
    if flag.many:
        options.update(nargs="+", action=_StoreTuple)
    if flag.const is not None:
        options.update(nargs="?", const=flag.const)
    return options


def _help(flag: Flag) -> str:
    if flag.default is dataclasses.MISSING:
        return f"{flag.help} (required)"
    if flag.default is None or flag.default is False or flag.default == ():
        return flag.help
    many = isinstance(flag.default, tuple)
    default = " ".join(f"{v:.4g}" for v in flag.default) if many else flag.default
    return f"{flag.help} (default: {default})"
