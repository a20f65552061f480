"""A third party checks verdicts offline with PyJWT, unchanged.

Standard input: {"jwks", "audience", "tokens": [...]}. Standard output: for each token its claims, or
the name of the exception that refused it.
"""

import json
import sys

import jwt

asked = json.load(sys.stdin)
keys = jwt.PyJWKSet.from_dict(asked["jwks"])
answers = []
for token in asked["tokens"]:
    try:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        answers.append(
            jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                audience=asked["audience"],
                issuer="holdfast-attestation",
                options={"require": ["exp", "iat", "jti"]},
            )
        )
    except (jwt.PyJWTError, KeyError) as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
