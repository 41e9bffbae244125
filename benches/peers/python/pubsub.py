"""A publisher and a subscriber of the pub-sub profile, on cbor2 and cryptography alone (section 6 of the profile, RFC 9338).

Reads one JSON object from standard input and writes one. {"do": "publish"} makes an object, {"do": "read"} decrypts and verifies one.
"""

import json
import sys

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers import aead

EDDSA, ES256 = -8, -7
CIPHERS = {
    1: (aead.AESGCM, 12),
    3: (aead.AESGCM, 12),
    10: (lambda key: aead.AESCCM(key, tag_length=8), 13),
    24: (aead.ChaCha20Poly1305, 12),
}


def nonce(base_iv, length, sender_id, partial_iv):
    plain = bytes([len(sender_id)]) + sender_id.rjust(length - 6, b"\0") + partial_iv.rjust(5, b"\0")
    assert len(plain) == len(base_iv) == length
    return bytes(one ^ other for one, other in zip(plain, base_iv))


def countersigned(body, sign, ciphertext):
    return cbor2.dumps(["CounterSignature", body, sign, b"", ciphertext])


def sign(alg, secret, message):
    if alg == EDDSA:
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret).sign(message)
    key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(alg, cred, message, signature):
    key = cbor2.loads(cred)[8][1]
    if alg == EDDSA:
        ed25519.Ed25519PublicKey.from_public_bytes(key[-2]).verify(signature, message)
        return
    x, y = (int.from_bytes(key[label], "big") for label in (-2, -3))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def publish(given, group_key):
    alg, sender_id = group_key[3], bytes.fromhex(given["sender_id"])
    number = given["number"]
    partial_iv = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    cipher, length = CIPHERS[alg]
    body, signs = cbor2.dumps({1: alg}), cbor2.dumps({1: given["sign_alg"]})
    aad = cbor2.dumps(["Encrypt0", body, b""])
    plain = bytes.fromhex(given["data"])
    ciphertext = cipher(group_key[-1]).encrypt(nonce(group_key[5], length, sender_id, partial_iv), plain, aad)
    signature = sign(given["sign_alg"], bytes.fromhex(given["secret"]), countersigned(body, signs, ciphertext))
    countersignature = [signs, {4: sender_id}, signature]
    return {"object": cbor2.dumps([body, {4: group_key[2], 6: partial_iv, 11: countersignature}, ciphertext]).hex()}


def read(given, group_key):
    body, unprotected, ciphertext = cbor2.loads(bytes.fromhex(given["object"]))
    signs, names, signature = unprotected[11]
    alg = group_key[3]
    assert cbor2.loads(body) == {1: alg} and unprotected[4] == group_key[2]
    sign_alg = cbor2.loads(signs)[1]
    assert sign_alg == given["sign_alg"]
    verify(sign_alg, bytes.fromhex(given["cred"]), countersigned(body, signs, ciphertext), signature)
    cipher, length = CIPHERS[alg]
    aad = cbor2.dumps(["Encrypt0", body, b""])
    plain = cipher(group_key[-1]).decrypt(nonce(group_key[5], length, names[4], unprotected[6]), ciphertext, aad)
    number = int.from_bytes(unprotected[6], "big")
    return {"data": plain.hex(), "sender_id": names[4].hex(), "number": number}


def main():
    given = json.load(sys.stdin)
    group_key = cbor2.loads(bytes.fromhex(given["key"]))[0]
    assert group_key[1] == 4
    json.dump({"publish": publish, "read": read}[given["do"]](given, group_key), sys.stdout)


main()
