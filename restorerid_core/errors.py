"""The one exception that the user can act on."""


class RestorerIDError(ValueError):
    """Something that the user can put right.

    Its text is one sentence that names the input, what was found, what was expected and what to do.
    """
