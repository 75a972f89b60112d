"""What is ComfyUI's: its types, folders and models, and the patch into its MODEL."""
