"""Reads YAML as DVC does, and says what is wrong with it, or with a parameter in it, in a line."""

import difflib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vae.errors import Refusal, UserError, in_short

Model = TypeVar("Model", bound=BaseModel)


def load_yaml(path: str | Path) -> Any:
    """Reads a file as DVC reads it: YAML 1.2, in which 010 is 10, and no key may stand twice.

    Raises UserError if it is missing, cannot be read, or is not YAML.
    """
    try:
        return _parsed(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the project's root folder") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    # Nested too deeply, an integer with more digits than Python converts, or a false tag.
    except (YAMLError, ValueError, RecursionError, LookupError) as error:
        reason = in_short(str(error).split("To suppress")[0])
        raise UserError(f"{path} is not valid YAML: {reason}") from None


@cache  # a stage asks for the same text eight times, and each parsing takes 50 milliseconds
def _parsed(text: str) -> Any:
    # Of a stream, its errors do not quote the line, which may have a part of a password.
    return YAML(typ="safe").load(io.StringIO(text))


def flat(params: dict[str, Any]) -> dict[str, object]:
    """Values by section.name. In dvc.lock they may have that form already."""
    result: dict[str, object] = {}
    for section, values in params.items():
        inside = values if isinstance(values, dict) else {}
        its = {f"{section}.{name}": value for name, value in inside.items()}
        result |= its or {section: values}
    return result


def validated(model: type[Model], content: object, source: str) -> Model:
    """Raises Refusal with a line for each of the first two bad entries: where it is from, its full
    name, its value, what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [f"{source}: {_explain(entry, model)}" for entry in error.errors()]
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        raise Refusal("\n".join(lines[:2]) + more) from None


def _explain(entry: ErrorDetails, model: type[BaseModel]) -> str:
    name = ".".join(map(str, entry["loc"])) or "the file"
    kind, value = entry["type"], entry["input"]
    if kind == "extra_forbidden":
        section: Any = model
        for key in entry["loc"][:-1]:
            section = section.model_fields[key].annotation
        known = list(section.model_fields)
        *path, last = map(str, entry["loc"])
        close = difflib.get_close_matches(last, known, n=1)
        hint = (
            f"did you mean {'.'.join([*path, *close])}?" if close else f"known: {', '.join(known)}"
        )
        return f"{in_short(name)} = {_shown(value)} is not a parameter; {hint}"
    if kind == "missing":
        return f"{name} is missing"
    message = re.sub("^(Value error, |Input |List )| after validation.*", "", entry["msg"])
    message = message.replace("a valid tuple", "a list")
    if isinstance(value, dict) and kind == "value_error":  # of several, which the message names
        return message
    return f"{name} = {_shown(value)}: {message}"


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not write a number of more than 4,300 digits
        text = "a number of thousands of digits"
    if "@" in text:  # before which a password may stand, with or without ://
        text = f"{text[0]}…{text[text.rindex('@') :]}"
    return text if len(text) < 80 else text[:77] + "..."
