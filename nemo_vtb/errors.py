"""The one exception a user is meant to read."""


class VTBError(Exception):
    """Something the user can mend; the message names the file and line, key or sample, and the remedy.

    The command line prints the message without a traceback.
    """
