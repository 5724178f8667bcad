"""Judges one access token as a service in Python does, with PyJWT and the published set of keys.

Standard input is JSON: token, keys (a JSON Web Key Set), issuer, audience. Prints the claims; a token
that is not to be taken ends with an error.
"""

import json
import sys

import jwt

told = json.load(sys.stdin)
keys = jwt.PyJWKSet.from_dict(told["keys"])
name = jwt.get_unverified_header(told["token"])["kid"]
claims = jwt.decode(
    told["token"],
    keys[name].key,
    algorithms=["RS256"],
    issuer=told["issuer"],
    audience=told["audience"],
    options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
)
print(json.dumps(claims))
