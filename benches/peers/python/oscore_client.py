"""aiocoap as OSCORE client: GET, PUT, Observe, block-wise both ways, and Echo after a restart.

usage: oscore_client.py PORT FOLDER PART
"""

import asyncio
import sys

import aiocoap
from aiocoap import GET, PUT, Message

from common import context


async def main(port, folder, part):
    base = f"coap://127.0.0.1:{port}"
    client = await aiocoap.Context.create_client_context()
    if part == "again":
        from aiocoap import oscore
        security = oscore.FilesystemSecurityContext(folder)
    else:
        security = context(b"\x01" * 16, b"\x02" * 8, b"\x01", b"\x02", folder)
    client.client_credentials[base + "/*"] = security

    async def ask(message):
        return await asyncio.wait_for(client.request(message).response, 10)

    small = await ask(Message(code=GET, uri=base + "/small"))
    assert small.code == aiocoap.CONTENT and small.payload == b"small", small
    if part == "first":
        big = await ask(Message(code=GET, uri=base + "/big"))
        assert big.payload == bytes(i % 251 for i in range(5000)), len(big.payload)
        body = bytes(i % 253 for i in range(4000))
        put = await ask(Message(code=PUT, uri=base + "/store", payload=body))
        assert put.code == aiocoap.CHANGED, put
        stored = await ask(Message(code=GET, uri=base + "/store"))
        assert stored.payload == body, len(stored.payload)
        missing = await ask(Message(code=GET, uri=base + "/missing"))
        assert missing.code == aiocoap.NOT_FOUND, missing

        request = client.request(Message(code=GET, uri=base + "/counter", observe=0))
        first = await asyncio.wait_for(request.response, 10)
        assert first.opt.observe is not None and first.payload == b"0", first
        seen = []
        notifications = request.observation.__aiter__()
        for _ in range(3):
            await ask(Message(code=PUT, uri=base + "/counter", payload=b""))
            notification = await asyncio.wait_for(notifications.__anext__(), 10)
            seen.append(notification.payload)
        assert seen == [b"1", b"2", b"3"], seen
        request.observation.cancel()
    await client.shutdown()
    # Writes the sequence number down.
    security._destroy()
    print("ok")


asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
