import os


def printable(text: str) -> str:
    """A name from data as one line that logs and drawings can hold.

    Bytes of a file name that are no UTF-8 would end in errors of the log, and
    in a crash of OpenCV.

    Args:
        text (str): Any, in the form of :func:`os.fsdecode`.

    Returns:
        str: With such bytes and line breaks as escapes.
    """
    text = os.fsencode(text).decode(errors='backslashreplace')
    return text.replace('\n', '\\n').replace('\r', '\\r')
