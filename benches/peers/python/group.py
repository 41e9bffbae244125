"""Two nodes that talk Group OSCORE with the keys of two joins: one request and its response.

usage: group.py JOIN_A.json JOIN_B.json
"""

import asyncio
import json
import socket
import sys

import aiocoap
from aiocoap import oscore, oscore_sitewrapper, resource
from aiocoap.credentials import CredentialsMap


def group_context(joined, peers):
    """aiocoap's context for a group, from what a member got."""
    unhex = bytes.fromhex
    ed25519 = oscore.algorithms[-8] if -8 in oscore.algorithms else oscore.Ed25519()
    own = unhex(joined["sender_id"])
    return oscore.SimpleGroupContext(
        alg_aead=oscore.algorithms["AES-CCM-16-64-128"],
        hashfun=oscore.hashfunctions["sha256"],
        alg_signature=ed25519,
        alg_group_enc=oscore.algorithms["AES-CCM-16-64-128"],
        alg_pairwise_key_agreement=oscore.EcdhSsHkdf256(),
        group_id=unhex(joined["gid"]),
        master_secret=unhex(joined["ms"]),
        master_salt=unhex(joined["salt"]),
        sender_id=own,
        private_key=unhex(joined["seed"]),
        sender_auth_cred=unhex(joined["cred"]),
        peers={unhex(k): unhex(v) for k, v in peers.items() if unhex(k) != own},
        group_manager_cred=unhex(joined["gm_cred"]),
    )


def is_group_protected(message, gid):
    """Whether a message came under the group's security context."""
    security = getattr(message.remote, "security_context", None)
    return getattr(security, "id_context", None) == gid


class Light(resource.Resource):
    def __init__(self, gid):
        super().__init__()
        self.gid = gid

    async def render_get(self, request):
        assert is_group_protected(request, self.gid), request.remote
        return aiocoap.Message(payload=b"light is on")


async def main(path_a, path_b):
    with open(path_a, encoding="ascii") as file:
        a = json.load(file)
    with open(path_b, encoding="ascii") as file:
        b = json.load(file)
    # B joined later, so it was told of both.
    peers = b["peers"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = resource.Site()
    gid = bytes.fromhex(a["gid"])
    site.add_resource(["light"], Light(gid))
    credentials = CredentialsMap()
    credentials[":group"] = group_context(a, peers)
    wrapped = oscore_sitewrapper.OscoreSiteWrapper(site, credentials)
    server = await aiocoap.Context.create_server_context(wrapped, bind=("127.0.0.1", port), transports=["oscore", "udp6"])
    client = await aiocoap.Context.create_client_context()
    uri = f"coap://127.0.0.1:{port}/light"
    client.client_credentials[f"coap://127.0.0.1:{port}/*"] = group_context(b, peers)
    request = aiocoap.Message(code=aiocoap.GET, uri=uri)
    response = await asyncio.wait_for(client.request(request).response, 10)
    assert response.code == aiocoap.CONTENT and response.payload == b"light is on", response
    assert is_group_protected(response, gid), response.remote
    await client.shutdown()
    await server.shutdown()
    print("ok")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
