"""The one exception that means "you can mend this": shown as a sentence, without a traceback."""

_LONGEST = 300  # characters of another library's message


class UserError(Exception):
    """Something the user can put right; the message is one sentence that says how."""


def one_line(error: BaseException) -> str:
    """What another library's error says, for the end of a sentence; its name where it says nothing."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
