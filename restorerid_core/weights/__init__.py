"""Weight files: where they lie, what they hold, and how they are fetched and converted."""
