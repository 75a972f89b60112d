"""Names under which things of ours lie in ComfyUI's dictionaries."""

KEY = "restorerid"
LQ, IDENTITY, SCALE = f"{KEY}_lq", f"{KEY}_identity", f"{KEY}_scale"
STRUCTURE, FIR = f"{KEY}_structure", f"{KEY}_fir"
ADAPTER, TIMESTEP = f"{KEY}_adapter", f"{KEY}_timestep"
RESBLOCK_PATCH = "forward_timestep_embed_patch"
