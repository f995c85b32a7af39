"""The one exception for what a user can put right."""


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The command-line tools print the sentence without a traceback and exit
    with status 2. Everything else that is raised is a bug and keeps its
    traceback.
    """


def printable(text: str) -> str:
    """A text from a file, without what would steer a terminal.

    Args:
        text (str): Of any origin.

    Returns:
        str: With escapes, as ``repr`` has them, in the place of line breaks
        and other characters that are not printed.
    """
    return ''.join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text)
