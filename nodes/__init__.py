"""ComfyUI nodes: they validate, call `restorerid_core` and wrap the result."""

from ..restorerid_core.errors import RestorerIDError

# ComfyUI shows an exception's whole name before its text. The true one begins with the path of
# this folder, behind which a user has to look for the sentence.
RestorerIDError.__module__, RestorerIDError.__qualname__ = "RestorerID", "Error"
