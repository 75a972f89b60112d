"""ComfyUI nodes: they validate, call `restorerid_core` and wrap the result."""
