"""The one exception that the user can act on, and what other exceptions mean to one."""

FETCH = "`python -m restorerid_core fetch`"
"""The remedy for weights that are missing, in sentences."""
NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "insufficient memory",
    "failed to allocate",
    "can't allocate memory",
    "cannot allocate memory",
)


class RestorerIDError(ValueError):
    """Something that the user can put right.

    Its text is one sentence that names the input, what was found, what was expected and what to do.
    """


def explain(error: Exception) -> str:
    """A sentence for whatever a library raised while one photo of many was at work."""
    if isinstance(error, RestorerIDError):
        return str(error)
    detail = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    if out_of_memory(error):
        return (
            f"there is not enough memory ({detail}): use --low-memory, --faces-per-run 1 or a "
            "smaller --size, or close other programs."
        )
    return detail if isinstance(error, OSError) else f"{type(error).__name__}: {detail}"


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking; torch, ONNX Runtime and OpenCV have errors of their own."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)
