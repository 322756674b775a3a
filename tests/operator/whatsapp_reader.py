"""Reads updates of WhatsApp as pywa of PyPI does.

Takes a line of JSON for each update on stdin, {"body", "signature"}, the key as its argument; writes one for each with
what the library made of it.
"""

import json
import sys
import warnings

from pywa import WhatsApp, utils

warnings.simplefilter("ignore")
SECRET = sys.argv[1]
client = WhatsApp(phone_id="200000000000001", token="none", server=None, verify_token="none")
seen = []


@client.on_message
def on_message(_, message):
    seen.append(message.id)


for line in sys.stdin:
    update = json.loads(line)
    body = update["body"].encode()
    seen.clear()
    is_genuine = utils.webhook_updates_validator(SECRET, body, update["signature"])
    client.webhook_update_handler(body)
    print(json.dumps({"genuine": is_genuine, "ids": seen}), flush=True)
