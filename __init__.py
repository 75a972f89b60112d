"""RestorerID for ComfyUI: face restoration from one reference photo of the same person."""

from comfy_api.latest import ComfyExtension, io

WEB_DIRECTORY = "./web"


class RestorerIDExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .nodes import registry

        return registry.NODES


async def comfy_entrypoint() -> RestorerIDExtension:
    return RestorerIDExtension()
