"""Judges one webhook as a receiver in Python does, with the library of Standard Webhooks.

Standard input is JSON: secret, headers, and the body in base64. Prints the message; anything
that is not a webhook of now ends with an error.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook

told = json.load(sys.stdin)
message = Webhook(told["secret"]).verify(base64.b64decode(told["body"]), told["headers"])
print(json.dumps(message))
