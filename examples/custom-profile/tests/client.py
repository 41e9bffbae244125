"""A member of a media group that has none of our code: gets a token, posts it, joins as a sender and as one that asks for too
much, writes the title of its stream and reads all of them.

usage: client.py AS_PORT KDC_PORT MASTER_SECRET_HEX
"""

import asyncio
import json
import os
import sys

import aiocoap
import cbor2
from aiocoap import GET, POST, Message
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../benches/peers/python"))
from common import context  # noqa: E402

ACE_CBOR, GROUPCOMM, CBOR = 19, 261, 60
BITRATE, NO_BITRATE = -70_011, -70_012


async def main(as_port, kdc_port, secret):
    coap = await aiocoap.Context.create_client_context()
    as_uri, kdc_uri = f"coap://127.0.0.1:{as_port}", f"coap://127.0.0.1:{kdc_port}"

    async def ask(code, uri, content_format=None, payload=b""):
        message = Message(code=code, uri=uri, content_format=content_format, payload=payload)
        return await asyncio.wait_for(coap.request(message).response, 10)

    coap.client_credentials[as_uri + "/*"] = context(secret, b"", b"\x02", b"\xa5")
    scope = cbor2.dumps([["stage", 1]])
    answer = await ask(POST, as_uri + "/token", ACE_CBOR, cbor2.dumps({5: "kdc1", 9: scope}))
    assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
    token = cbor2.loads(answer.payload)
    material = token[8][4]

    n1, id1 = os.urandom(8), os.urandom(1)
    answer = await ask(POST, kdc_uri + "/authz-info", ACE_CBOR, cbor2.dumps({1: token[1], 40: n1, 43: id1, 45: None}))
    assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
    info = cbor2.loads(answer.payload)
    assert info[45] == [["stage", -7, [2], [2, 1], 14]], info[45]
    salt = cbor2.dumps(material.get(5, b"")) + cbor2.dumps(n1) + cbor2.dumps(info[42])
    coap.client_credentials[kdc_uri + "/ace-group/*"] = context(material[2], salt, info[44], id1)

    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    cose = {1: 2, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
    cred = cbor2.dumps({2: "screen", 8: {1: cose}})

    async def join(bitrate):
        entry, n_c = cbor2.dumps(["stage", 1]), os.urandom(8)
        signed = key.sign(cbor2.dumps(entry) + cbor2.dumps(info[46]) + cbor2.dumps(n_c), ec.ECDSA(SHA256()))
        proof = b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(signed))
        request = {3: entry, 4: None, 5: cred, 6: n_c, 24: proof, BITRATE: bitrate}
        return n_c, await ask(POST, kdc_uri + "/ace-group/stage", GROUPCOMM, cbor2.dumps(request))

    _, refused = await join(1_001)
    assert refused.code == aiocoap.FORBIDDEN and refused.opt.content_format == 257, refused
    assert cbor2.loads(refused.payload)[0] == {0: NO_BITRATE}, refused.payload

    n_c, answer = await join(400)
    assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
    joined = cbor2.loads(answer.payload)
    assert joined[7] == joined[10] == -70_010 and joined[BITRATE] == 600, joined
    master_key, master_salt, gid, ssrc = joined[8]
    assert len(master_key) == 32 and len(master_salt) == 12 and len(ssrc) == 4
    assert len(joined[13]) == 1, "the camera's credential"
    kdc = cbor2.loads(joined[17])[8][1]
    point = b"\x04" + kdc[-2] + kdc[-3]
    r, s = (int.from_bytes(half, "big") for half in (joined[19][:32], joined[19][32:]))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    public.verify(encode_dss_signature(r, s), cbor2.dumps(n_c) + cbor2.dumps(joined[18]), ec.ECDSA(SHA256()))

    streams = kdc_uri + "/ace-group/stage/streams"
    written = await ask(POST, f"{streams}/{ssrc.hex()}", CBOR, cbor2.dumps("screen share"))
    assert written.code == aiocoap.CHANGED, written
    camera = next(stream for stream in cbor2.loads((await ask(GET, streams)).payload) if stream[0] != ssrc)
    foreign = await ask(POST, f"{streams}/{camera[0].hex()}", CBOR, cbor2.dumps("mine"))
    assert foreign.code == aiocoap.FORBIDDEN, foreign
    listed = cbor2.loads((await ask(GET, streams)).payload)
    print(json.dumps({
        "master_key": master_key.hex(),
        "gid": gid.hex(),
        "ssrc": ssrc.hex(),
        "streams": sorted([stream[0].hex(), *stream[1:]] for stream in listed),
    }))
    await coap.shutdown()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])))
