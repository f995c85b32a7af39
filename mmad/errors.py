"""The one exception for what a user can put right."""


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The command-line tools print the sentence without a traceback and exit
    with status 2. Everything else that is raised is a bug and keeps its
    traceback.
    """
