"""From a photo to its faces: where they are, and whose the recogniser says they are."""
