"""Whether one who left a group can read what its members say under the next version.

A member protects a request. Another member reads it; who left does not: neither with what it holds, nor with the new Group
identifier, which everybody sees, put on its old secret.

usage: unreadable.py MEMBER.json OTHER_MEMBER.json GONE.json
"""

import json
import sys

import aiocoap
from aiocoap import oscore
from aiocoap.message import Direction

from group import group_context


def read(joined, peers, message):
    """What a holder of these keys gets out of the message."""
    unprotected = oscore.verify_start(message)
    context = group_context(joined, peers)
    if unprotected[oscore.COSE_KID_CONTEXT] != context.id_context:
        return "unknown Gid"
    try:
        plain, _ = context.get_oscore_context_for(unprotected).unprotect(message)
    except oscore.ProtectionInvalid:
        return "refused"
    return plain.payload.decode()


joins = []
for path in sys.argv[1:]:
    with open(path, encoding="ascii") as file:
        joins.append(json.load(file))
member, other, gone = joins
peers = {**gone["peers"], **member["peers"], **other["peers"]}


def said():
    request = aiocoap.Message(code=aiocoap.POST, uri="coap://127.0.0.1/light", payload=b"dim it")
    protected, _ = group_context(member, peers).protect(request)
    protected.direction = Direction.INCOMING
    return protected


print(json.dumps({
    "other": read(other, peers, said()),
    "gone": read(gone, peers, said()),
    "gone_with_new_gid": read({**gone, "gid": other["gid"]}, peers, said()),
}))
