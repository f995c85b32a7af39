"""The exception for errors that the user can correct."""


class InputError(ValueError):
    """Raised for wrong input, such as a missing file or a wrong argument.

    The message is one sentence that says what is wrong, where, and what to
    do. The command-line tools print it without a traceback and exit with
    status 2. Any other exception is a bug and keeps its traceback.
    """


def printable(text: str) -> str:
    """Escape the characters of a text that cannot be printed.

    Args:
        text (str): Text from any source, such as a file name from
            :func:`os.fsdecode`.

    Returns:
        str: The text with line breaks and other unprintable characters
        replaced by the escapes of ``repr``.
    """
    return ''.join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text)


def summarize_error(error: Exception) -> str:
    """Return the type of an error and the start of its message, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # The second line of a message of PyTorch says what is wrong.
    text = printable(' '.join(lines[:2]))
    return f'{type(error).__name__}: {text[:300]}'.rstrip(': .')
