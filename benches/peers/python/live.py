"""A member that lives, and has nothing of this project: it joins, is told of new versions and of its eviction, and prints a
JSON line for each thing that happens. What it is told to do it reads from standard input: `leave`, `renew`, `get`, or
`keys FILE`, which writes what it holds.

HOW is how it is told: `observe` (it observes the group and its own node) or `control` (it takes requests at a control_uri, on the
socket and under the security context by which it asks).

usage: live.py HOW AS_PORT KDC_PORT CLIENT_ID_HEX MASTER_SECRET_HEX GROUP TPERM SEED_HEX SUBJECT
"""

import asyncio
import json
import os
import socket
import sys
import warnings

import aiocoap
import cbor2
from aiocoap import Message, oscore_sitewrapper, resource
from aiocoap.credentials import CredentialsMap

from member import GROUPCOMM, Member, digest


def say(**what):
    print(json.dumps(what), flush=True)


def version(payload):
    told = cbor2.loads(payload)
    stale = told.get(34)
    return {
        "num": told[9],
        "key_digest": digest(told[8]),
        "stale": None if stale is None else sorted(id.hex() for id in stale),
        "labels": sorted(told[8]),
    }


# Callbacks are deprecated for iterators, which drop a message that comes together with the end of its observation.
warnings.simplefilter("ignore", DeprecationWarning)


class Control(resource.Resource):
    """Where the KDC sends rekeying messages, and says that the member is out."""

    def __init__(self):
        super().__init__()
        self.member = None

    def check(self, request):
        assert request.remote.security_context is self.member.security, "not under the association of the join"

    async def render_post(self, request):
        self.check(request)
        assert self.member.security.recipient_replay_window.is_initialized(), "it came with the Echo"
        assert request.opt.content_format == GROUPCOMM
        say(event="posted", **version(request.payload))
        return Message(code=aiocoap.CHANGED)

    async def render_delete(self, request):
        self.check(request)
        assert request.payload == b""
        say(event="deleted")
        return Message(code=aiocoap.DELETED)


async def observe(member, path, name):
    """Observes until the KDC ends it."""
    message = Message(code=aiocoap.GET, uri=member.kdc_uri + path, observe=0)
    request = member.coap.request(message, handle_blockwise=False)
    first = await request.response
    assert first.opt.observe is not None, (name, first, first.payload)
    say(event="observes", what=name, max_age=first.opt.max_age)

    def told(message):
        if message.code.is_successful():
            say(event="notified", what=name, **version(message.payload))
        else:
            problem = cbor2.loads(message.payload) if message.payload else {}
            observes = message.opt.observe is not None
            say(event="ended", what=name, code=message.code.dotted, error=problem.get(0, {}).get(0), observe=observes)

    over = asyncio.get_running_loop().create_future()
    request.observation.register_errback(lambda _: over.done() or over.set_result(None))
    request.observation.register_callback(told)
    await over


async def orders(member):
    loop = asyncio.get_running_loop()
    while True:
        order = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
        if order == "leave":
            answer = await member.ask(aiocoap.DELETE, member.node)
            say(event="left", code=answer.code.dotted)
        elif order == "renew":
            answer = await member.ask(aiocoap.POST, member.node)
            told = cbor2.loads(answer.payload)
            say(event="renewed", code=answer.code.dotted, sender_id=told[21].hex() if 21 in told else None)
        elif order == "get":
            answer = await member.get(f"/ace-group/{member.group}")
            body = cbor2.loads(answer.payload) if answer.payload else {}
            num = body.get(9) if answer.code.is_successful() else None
            say(event="got", code=answer.code.dotted, num=num)
        elif order.startswith("keys "):
            with open(order[5:], "w", encoding="ascii") as file:
                json.dump(await member.keys(), file)
            say(event="wrote")
        elif order == "":
            return


async def main(how, as_port, kdc_port, client_id, secret, group, tperm, seed, subject):
    control, credentials = Control(), CredentialsMap()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = resource.Site()
    site.add_resource(["grp-rek"], control)
    wrapped = oscore_sitewrapper.OscoreSiteWrapper(site, credentials)
    coap = await aiocoap.Context.create_server_context(wrapped, bind=("127.0.0.1", port), transports=["oscore", "udp6"])
    member = Member(coap, as_port, kdc_port, client_id, secret, group, tperm, seed, subject)
    control.member = member
    await member.get_token()
    await member.transfer()
    credentials[":kdc"] = member.security
    if how == "control":
        # As after a reboot: it does not know which requests it has seen, and asks for an Echo.
        member.security.recipient_replay_window._index = None
        member.security.echo_recovery = os.urandom(8)
    await member.join(f"coap://127.0.0.1:{port}/grp-rek" if how == "control" else None)
    key = member.joined[8]
    say(event="joined", num=member.joined[9], key_digest=digest(key), sender_id=key[7].hex(), node=member.node)
    tasks = []
    if how == "observe":
        tasks = [asyncio.create_task(observe(member, f"/ace-group/{group}", "group")),
                 asyncio.create_task(observe(member, member.node, "node"))]
    for task in tasks:
        # What fails there ends the program.
        task.add_done_callback(lambda task: task.cancelled() or task.result())
    asyncio.get_running_loop().set_exception_handler(lambda _, context: os._exit(print(context, file=sys.stderr) or 1))
    await orders(member)
    for task in tasks:
        task.cancel()
    await coap.shutdown()


a = sys.argv
asyncio.run(main(a[1], int(a[2]), int(a[3]), bytes.fromhex(a[4]), bytes.fromhex(a[5]), a[6], int(a[7]), bytes.fromhex(a[8]), a[9]))
