"""A WebAuthn relying party (PyPI webauthn) judges registrations with `android-key` attestation.

Standard input: one JSON object {"root", "challenge", "cases": [{"name", "credential"}]}. Standard
output: one JSON object, name -> "accepted" or the reason.
"""

import json
import sys

from webauthn import base64url_to_bytes, verify_registration_response
from webauthn.helpers.structs import AttestationFormat

asked = json.load(sys.stdin)
verdicts = {}
for case in asked["cases"]:
    try:
        verified = verify_registration_response(
            credential=case["credential"],
            expected_challenge=base64url_to_bytes(asked["challenge"]),
            expected_rp_id="example.org",
            expected_origin="https://example.org",
            pem_root_certs_bytes_by_fmt={
                AttestationFormat.ANDROID_KEY: [asked["root"].encode()],
            },
        )
        assert verified.fmt == AttestationFormat.ANDROID_KEY
        verdicts[case["name"]] = "accepted"
    except Exception as error:  # every refusal is an exception of its own
        verdicts[case["name"]] = f"{type(error).__name__}: {error}"
print(json.dumps(verdicts))
