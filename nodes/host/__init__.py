"""The side of ComfyUI: its types, folders and models, and the patch into its MODEL."""
