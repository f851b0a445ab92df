"""Errors that the user can fix."""


class UserError(Exception):
    """An error that the user can fix. Its message names the thing and says what to do."""


class Refusal(UserError):
    """A parameter is wrong, and nothing has run."""
