"""RestorerID without ComfyUI: networks, conditioning, checkpoints, faces, schedule and colour."""
