"""OSCORE contexts for aiocoap, from parameters."""

import json
import os
import tempfile

from aiocoap import oscore


def context(secret, salt, sender, recipient, folder=None):
    """A context that was never used before, in a folder of its own."""
    folder = folder or tempfile.mkdtemp()
    settings = {
        "secret_hex": secret.hex(),
        "salt_hex": salt.hex(),
        "sender-id_hex": sender.hex(),
        "recipient-id_hex": recipient.hex(),
    }
    with open(os.path.join(folder, "settings.json"), "w", encoding="ascii") as file:
        json.dump(settings, file)
    return oscore.FilesystemSecurityContext(folder)
