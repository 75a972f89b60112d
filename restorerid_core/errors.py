"""The one exception that the user can act on, and what other exceptions mean to one."""

NO_MEMORY = (
    "out of memory", "not enough memory", "insufficient memory", "failed to allocate",
    "can't allocate memory", "cannot allocate memory",
)  # fmt: skip


class RestorerIDError(ValueError):
    """Something that the user can put right.

    Its text is one sentence that names the input, what was found, what was expected and what to do.
    """


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking; torch, ONNX Runtime and OpenCV have errors of their own."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)
