"""Decrypts a Web Push message with http_ece.

Reads JSON from standard input, binary values in base64url without padding: `private_key` (the 32 bytes of
the browser's key), `auth`, and `body` (the request body, aes128gcm). Prints the text.
"""

import base64
import json
import sys

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def main():
    given = json.load(sys.stdin)
    number = int.from_bytes(decoded(given["private_key"]), "big")
    text = http_ece.decrypt(
        decoded(given["body"]),
        private_key=ec.derive_private_key(number, ec.SECP256R1()),
        auth_secret=decoded(given["auth"]),
        version="aes128gcm",
    )
    sys.stdout.buffer.write(text)


main()
