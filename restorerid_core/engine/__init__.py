"""The restoration without ComfyUI, on diffusers' SD-1.5."""
