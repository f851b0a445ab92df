"""What went wrong, for the person who can mend it."""


class UserError(Exception):
    """Something a person can mend; its message names the thing and says how."""


class Refusal(UserError):
    """A parameter is wrong, and no work was done."""
