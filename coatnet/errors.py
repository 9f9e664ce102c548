"""The one exception that means "you can mend this": shown as a sentence, without a traceback."""


class UserError(Exception):
    """Something the user can put right; the message is one sentence that says how."""
