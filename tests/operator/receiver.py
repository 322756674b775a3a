"""A program that takes webhooks as the libraries of PyPI verify them.

usage: receiver.py FORM SECRET

FORM says what SECRET is: encoded (whsec_ and base64) or raw. Prints its port, then a line for each request: how it
was judged, and what it carried. Answers 204 to what is genuine and 400 to what is not.
"""

import hashlib
import hmac
import http.server
import json
import sys

import standardwebhooks
import svix

FORM, SECRET = sys.argv[1:]
KEY = SECRET if FORM == "encoded" else SECRET.encode()


def judge(headers, body):
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(headers["x-signature"], signature):
        return "X-Signature"
    for library in (standardwebhooks, svix):
        try:
            library.Webhook(KEY).verify(body, headers)
        except json.JSONDecodeError:
            # Verified, and then read as one object, which a batch is not.
            if headers["content-type"] != "application/x-ndjson":
                return f"{library.__name__}: no JSON"
        except Exception as error:
            return f"{library.__name__}: {error!r}"
    return None


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        wrong = judge(headers, body)
        seen = {"wrong": wrong, "path": self.path, "headers": headers, "body": body.decode()}
        print(json.dumps(seen), flush=True)
        self.send_response(204 if wrong is None else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
