"""Errors that the user can fix."""

import re


def without_passwords(text: str) -> str:
    """`text` without the user names and passwords of its URLs: of each line, what is between the
    first :// and the last @.
    """
    return re.sub("://.*@", "://…@", text)


def in_short(reason: object) -> str:
    """An error's words, or another program's, as a part of a line: at most 200 characters, without
    passwords.
    """
    return without_passwords(" ".join(str(reason).split()))[:200]


class UserError(Exception):
    """An error that the user can fix. Its message names the thing and says what to do. It goes to
    logs that others read, and so has no password of a URL.
    """

    def __str__(self) -> str:
        return without_passwords(super().__str__())


class Refusal(UserError):
    """A parameter is wrong, and nothing has run."""
