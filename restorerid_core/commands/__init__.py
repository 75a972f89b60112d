"""The longer commands of `python -m restorerid_core`."""
