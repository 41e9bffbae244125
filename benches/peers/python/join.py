"""A client that has nothing of this project: gets a token, posts it, joins a group, checks the Group Manager, and
prints what it got as one JSON object.

With NOTIFICATIONS it observes the members' credentials between, until it was told so often, and prints a line each
time.

usage: join.py AS_PORT KDC_PORT CLIENT_ID_HEX MASTER_SECRET_HEX GROUP TPERM SEED_HEX SUBJECT [NOTIFICATIONS]
"""

import asyncio
import hashlib
import json
import os
import sys

import aiocoap
import cbor2
from aiocoap import POST, Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common import context

ACE_CBOR, GROUPCOMM = 19, 261


async def observe(coap, uri, notifications):
    request = coap.request(Message(code=aiocoap.GET, uri=uri, observe=0))
    print(len(cbor2.loads((await request.response).payload)[13]), flush=True)
    async for told in request.observation:
        print(len(cbor2.loads(told.payload)[13]), flush=True)
        notifications -= 1
        if notifications == 0:
            break
    request.observation.cancel()


async def main(as_port, kdc_port, client_id, secret, group, tperm, seed, subject, notifications=0):
    coap = await aiocoap.Context.create_client_context()
    as_uri, kdc_uri = f"coap://127.0.0.1:{as_port}", f"coap://127.0.0.1:{kdc_port}"

    async def post(uri, content_format, payload):
        message = Message(code=POST, uri=uri, content_format=content_format, payload=payload)
        return await asyncio.wait_for(coap.request(message).response, 10)

    # Phase 1: RFC 9203 section 3.1.
    coap.client_credentials[as_uri + "/*"] = context(secret, b"", client_id, b"\xa5")
    scope = cbor2.dumps([[group, tperm]])
    answer = await post(as_uri + "/token", ACE_CBOR, cbor2.dumps({5: "kdc1", 9: scope}))
    assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
    token = cbor2.loads(answer.payload)
    assert token[38] == 2 and token[2] > 0, token
    material = token[8][4]

    # Phase 2, token transfer: RFC 9203 section 4.
    n1, id1 = os.urandom(8), os.urandom(1)
    transfer = cbor2.dumps({1: token[1], 40: n1, 43: id1, 45: None, 47: None})
    answer = await post(kdc_uri + "/authz-info", ACE_CBOR, transfer)
    assert answer.code == aiocoap.CREATED and answer.opt.content_format == ACE_CBOR, answer
    info = cbor2.loads(answer.payload)
    n2, id2, n_s = info[42], info[44], info[46]
    assert id1 != id2
    assert info[45] == [[group, -8, [1], [1, 6], 14]], info[45]
    salt = cbor2.dumps(material.get(5, b"")) + cbor2.dumps(n1) + cbor2.dumps(n2)
    coap.client_credentials[kdc_uri + "/ace-group/*"] = context(material[2], salt, id2, id1)

    # Phase 2, join: RFC 9594 section 4.3.1, Group OSCORE profile section 6.
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    cred = cbor2.dumps({2: subject, 8: {1: {1: 1, 3: -8, -1: 6, -2: public}}})
    entry, n_c = cbor2.dumps([group, tperm]), os.urandom(8)
    evidence = key.sign(cbor2.dumps(entry) + cbor2.dumps(n_s) + cbor2.dumps(n_c))
    join = cbor2.dumps({3: entry, 4: None, 5: cred, 6: n_c, 24: evidence})
    answer = await post(f"{kdc_uri}/ace-group/{group}", GROUPCOMM, join)
    assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
    assert answer.opt.content_format == GROUPCOMM
    assert answer.opt.location_path[:3] == ("ace-group", group, "nodes"), answer.opt.location_path
    joined = cbor2.loads(answer.payload)
    assert joined[7] == 1 and joined[10] == 1 and joined[9] == 0, joined
    gm = cbor2.loads(joined[17])[8][1]
    Ed25519PublicKey.from_public_bytes(gm[-2]).verify(joined[19], cbor2.dumps(n_c) + cbor2.dumps(joined[18]))

    if notifications:
        await observe(coap, f"{kdc_uri}/ace-group/{group}/creds", notifications)

    # What members read.
    async def get(path):
        message = Message(code=aiocoap.GET, uri=kdc_uri + path)
        return await asyncio.wait_for(coap.request(message).response, 10)

    node = "/" + "/".join(answer.opt.location_path)
    own = cbor2.loads((await get(node)).payload)
    assert own[8] == joined[8], own
    shared = cbor2.loads((await get(f"/ace-group/{group}")).payload)
    assert 7 not in shared[8] and shared[8][2] == joined[8][2]
    assert cbor2.loads((await get(f"/ace-group/{group}/num")).payload) == 0
    assert cbor2.loads((await get(f"/ace-group/{group}/active")).payload) is True
    creds = cbor2.loads((await get(f"/ace-group/{group}/creds")).payload)
    assert cred in creds[13] and len(creds[13]) == len(creds[14]) == len(creds[15])

    # What is not for this client, and what is not protected.
    other = await get("/ace-group/nowhere")
    assert other.code == aiocoap.FORBIDDEN, other.code
    del coap.client_credentials[kdc_uri + "/ace-group/*"]
    stranger = await get(f"/ace-group/{group}")
    assert stranger.code == aiocoap.UNAUTHORIZED and stranger.opt.content_format == ACE_CBOR
    assert cbor2.loads(stranger.payload)[5] == "kdc1"
    links = (await get("/.well-known/core?rt=core.osc.gm")).payload.decode()
    assert f"</ace-group/{group}>" in links and "authz-info" not in links, links

    key_object = joined[8]
    digest = hashlib.sha256(cbor2.dumps([key_object[2], key_object.get(5, b""), key_object[6]])).hexdigest()
    print(json.dumps({
        "group": group,
        "sender_id": key_object[7].hex(),
        "num": joined[9],
        "key_digest": digest,
        "ms": key_object[2].hex(),
        "salt": key_object.get(5, b"").hex(),
        "gid": key_object[6].hex(),
        "gm_cred": joined[17].hex(),
        "cred": cred.hex(),
        "seed": seed.hex(),
        "modes": [9 in key_object and 10 in key_object, 4 in key_object and 12 in key_object],
        "peers": {sid.hex(): c.hex() for c, sid in zip(creds[13], creds[15])},
    }))
    await coap.shutdown()


a = sys.argv
asyncio.run(main(int(a[1]), int(a[2]), bytes.fromhex(a[3]), bytes.fromhex(a[4]), a[5], int(a[6]), bytes.fromhex(a[7]), a[8],
                 *map(int, a[9:])))
