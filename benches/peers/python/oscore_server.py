"""aiocoap as OSCORE server on a free port, which it prints. The context is always taken up anew, so that the first
request meets an Echo.

usage: oscore_server.py
"""

import asyncio
import socket

import aiocoap
from aiocoap import oscore_sitewrapper, resource

from common import context


class Store(resource.Resource):
    body = b"small"

    async def render_get(self, request):
        return aiocoap.Message(payload=self.body)

    async def render_put(self, request):
        self.body = request.payload
        return aiocoap.Message(code=aiocoap.CHANGED)


class Counter(resource.ObservableResource):
    count = 0

    async def render_get(self, request):
        return aiocoap.Message(payload=str(self.count).encode())

    async def render_put(self, request):
        self.count += 1
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


class Big(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=bytes(i % 251 for i in range(5000)))


async def main():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = resource.Site()
    site.add_resource(["small"], Store())
    site.add_resource(["store"], Store())
    site.add_resource(["counter"], Counter())
    site.add_resource(["big"], Big())
    from aiocoap.credentials import CredentialsMap
    credentials = CredentialsMap()
    credentials[":client"] = context(b"\x01" * 16, b"\x02" * 8, b"\x02", b"\x01")
    wrapped = oscore_sitewrapper.OscoreSiteWrapper(site, credentials)
    await aiocoap.Context.create_server_context(wrapped, bind=("127.0.0.1", port), transports=["oscore", "udp6"])
    print(port, flush=True)
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
