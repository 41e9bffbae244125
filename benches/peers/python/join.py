"""A client that has nothing of this project: gets a token, posts it, joins a group, checks the Group Manager, and
prints what it got as one JSON object.

With NOTIFICATIONS it observes the group between, until it was told so often, and prints the version each time.

usage: join.py AS_PORT KDC_PORT CLIENT_ID_HEX MASTER_SECRET_HEX GROUP TPERM SEED_HEX SUBJECT [NOTIFICATIONS]
"""

import asyncio
import json
import sys

import aiocoap
import cbor2
from aiocoap import Message

from member import ACE_CBOR, Member, digest


async def observe(coap, uri, notifications):
    request = coap.request(Message(code=aiocoap.GET, uri=uri, observe=0))
    print(cbor2.loads((await request.response).payload)[9], flush=True)
    async for told in request.observation:
        print(cbor2.loads(told.payload)[9], flush=True)
        notifications -= 1
        if notifications == 0:
            break
    request.observation.cancel()


async def main(as_port, kdc_port, client_id, secret, group, tperm, seed, subject, notifications=0):
    coap = await aiocoap.Context.create_client_context()
    member = Member(coap, as_port, kdc_port, client_id, secret, group, tperm, seed, subject)
    await member.get_token()
    await member.transfer()
    await member.join()
    joined, get = member.joined, member.get
    assert joined[9] == 0, joined

    if notifications:
        await observe(coap, f"{member.kdc_uri}/ace-group/{group}", notifications)

    # What members read.
    own = cbor2.loads((await get(member.node)).payload)
    assert notifications or own[8] == joined[8], own
    shared = cbor2.loads((await get(f"/ace-group/{group}")).payload)
    assert 7 not in shared[8] and shared[8][2] == own[8][2] and own[8][7] == joined[8][7]
    assert cbor2.loads((await get(f"/ace-group/{group}/num")).payload) == own[9]
    assert cbor2.loads((await get(f"/ace-group/{group}/active")).payload) is True
    creds = cbor2.loads((await get(f"/ace-group/{group}/creds")).payload)
    assert member.cred in creds[13] and len(creds[13]) == len(creds[14]) == len(creds[15])

    held = await member.keys()

    # What is not for this client, and what is not protected.
    other = await get("/ace-group/nowhere")
    assert other.code == aiocoap.FORBIDDEN, other.code
    del coap.client_credentials[member.kdc_uri + "/ace-group/*"]
    stranger = await get(f"/ace-group/{group}")
    assert stranger.code == aiocoap.UNAUTHORIZED and stranger.opt.content_format == ACE_CBOR
    assert cbor2.loads(stranger.payload)[5] == "kdc1"
    links = (await get("/.well-known/core?rt=core.osc.gm")).payload.decode()
    assert f"</ace-group/{group}>" in links and "authz-info" not in links, links

    print(json.dumps(held))
    await coap.shutdown()


a = sys.argv
asyncio.run(main(int(a[1]), int(a[2]), bytes.fromhex(a[3]), bytes.fromhex(a[4]), a[5], int(a[6]), bytes.fromhex(a[7]), a[8],
                 *map(int, a[9:])))
