"""What a client does to become a member: token, token transfer, join. It checks the Group Manager on the way."""

import asyncio
import hashlib
import os

import aiocoap
import cbor2
from aiocoap import POST, Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common import context

ACE_CBOR, GROUPCOMM = 19, 261


class Member:
    def __init__(self, coap, as_port, kdc_port, client_id, secret, group, tperm, seed, subject):
        self.coap, self.group, self.tperm, self.subject, self.seed = coap, group, tperm, subject, seed
        self.client_id, self.secret = client_id, secret
        self.as_uri, self.kdc_uri = f"coap://127.0.0.1:{as_port}", f"coap://127.0.0.1:{kdc_port}"

    async def ask(self, code, path, payload=b"", content_format=None):
        message = Message(code=code, uri=self.kdc_uri + path, content_format=content_format, payload=payload)
        return await asyncio.wait_for(self.coap.request(message).response, 10)

    async def get(self, path):
        return await self.ask(aiocoap.GET, path)

    async def post(self, uri, content_format, payload):
        message = Message(code=POST, uri=uri, content_format=content_format, payload=payload)
        return await asyncio.wait_for(self.coap.request(message).response, 10)

    async def get_token(self):
        """Phase 1: RFC 9203 section 3.1."""
        self.coap.client_credentials[self.as_uri + "/*"] = context(self.secret, b"", self.client_id, b"\xa5")
        scope = cbor2.dumps([[self.group, self.tperm]])
        answer = await self.post(self.as_uri + "/token", ACE_CBOR, cbor2.dumps({5: "kdc1", 9: scope}))
        assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
        self.token = cbor2.loads(answer.payload)
        assert self.token[38] == 2 and self.token[2] > 0, self.token

    async def transfer(self):
        """Phase 2, token transfer: RFC 9203 section 4. Returns the security context with the KDC."""
        material = self.token[8][4]
        n1, id1 = os.urandom(8), os.urandom(1)
        transfer = cbor2.dumps({1: self.token[1], 40: n1, 43: id1, 45: None, 47: None})
        answer = await self.post(self.kdc_uri + "/authz-info", ACE_CBOR, transfer)
        assert answer.code == aiocoap.CREATED and answer.opt.content_format == ACE_CBOR, answer
        info = cbor2.loads(answer.payload)
        n2, id2, self.n_s = info[42], info[44], info[46]
        assert id1 != id2
        assert info[45] == [[self.group, -8, [1], [1, 6], 14]], info[45]
        salt = cbor2.dumps(material.get(5, b"")) + cbor2.dumps(n1) + cbor2.dumps(n2)
        self.security = context(material[2], salt, id2, id1)
        self.coap.client_credentials[self.kdc_uri + "/ace-group/*"] = self.security

    async def join(self, control_uri=None):
        """Phase 2, join: RFC 9594 section 4.3.1, Group OSCORE profile section 6."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.cred = cbor2.dumps({2: self.subject, 8: {1: {1: 1, 3: -8, -1: 6, -2: public}}})
        entry, n_c = cbor2.dumps([self.group, self.tperm]), os.urandom(8)
        evidence = key.sign(cbor2.dumps(entry) + cbor2.dumps(self.n_s) + cbor2.dumps(n_c))
        request = {3: entry, 4: None, 5: self.cred, 6: n_c, 24: evidence}
        if control_uri is not None:
            request[26] = control_uri
        answer = await self.ask(POST, f"/ace-group/{self.group}", cbor2.dumps(request), GROUPCOMM)
        assert answer.code == aiocoap.CREATED, (answer.code, answer.payload)
        assert answer.opt.content_format == GROUPCOMM
        assert answer.opt.location_path[:3] == ("ace-group", self.group, "nodes"), answer.opt.location_path
        self.joined = cbor2.loads(answer.payload)
        self.node = "/" + "/".join(answer.opt.location_path)
        assert self.joined[7] == 1 and self.joined[10] == 1, self.joined
        gm = cbor2.loads(self.joined[17])[8][1]
        signed = cbor2.dumps(n_c) + cbor2.dumps(self.joined[18])
        Ed25519PublicKey.from_public_bytes(gm[-2]).verify(self.joined[19], signed)


    async def keys(self):
        """What the member holds, in the form that group.py reads."""
        own = cbor2.loads((await self.get(self.node)).payload)
        creds = cbor2.loads((await self.get(f"/ace-group/{self.group}/creds")).payload)
        key = own[8]
        return {
            "group": self.group,
            "sender_id": key[7].hex(),
            "num": own[9],
            "key_digest": digest(key),
            "ms": key[2].hex(),
            "salt": key.get(5, b"").hex(),
            "gid": key[6].hex(),
            "gm_cred": self.joined[17].hex(),
            "cred": self.cred.hex(),
            "seed": self.seed.hex(),
            "modes": [9 in key and 10 in key, 4 in key and 12 in key],
            "peers": {sid.hex(): c.hex() for c, sid in zip(creds[13], creds[15])},
        }


def digest(key):
    """Names the secrets of a version: equal for all members."""
    return hashlib.sha256(cbor2.dumps([key[2], key.get(5, b""), key[6]])).hexdigest()
