"""The exception for what a user can put right."""


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The command-line tools print the sentence without a traceback and exit
    with status 2. Everything else that is raised is a bug and keeps its
    traceback.
    """


def printable(text: str) -> str:
    """Escape what a log, a drawing or a terminal cannot show as it is.

    Args:
        text (str): Of any origin, such as a name in the form of
            :func:`os.fsdecode`.

    Returns:
        str: With escapes, as ``repr`` has them, in the place of line breaks
        and other characters that are not printed.
    """
    return ''.join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text)
