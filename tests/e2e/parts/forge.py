"""forge.py FOLDER: as much of GitHub's and of GitLab's API as a secret needs, on a free loopback port, whose number it
prints. What was set is written to FOLDER/<name>; GitHub's sealed values are opened with libsodium by ctypes. Tokens:
"good-token"; anything else is 401. Repository me/site and project group/site (7) exist."""
import base64
import ctypes
import ctypes.util
import http.server
import json
import os
import re
import sys

folder = sys.argv[1]
sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
assert sodium.sodium_init() >= 0
public, private = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
sodium.crypto_box_keypair(public, private)
variables = {}


def unseal(box):
    out = ctypes.create_string_buffer(max(len(box) - 48, 1))
    if sodium.crypto_box_seal_open(out, box, ctypes.c_ulonglong(len(box)), public, private):
        return None
    return out.raw[:len(box) - 48]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, value=None):
        data = json.dumps(value).encode() if value is not None else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")

    def keep(self, name, value):
        path = os.path.join(folder, name)
        was = os.path.exists(path)
        with open(path, "wb") as out:
            out.write(value)
        return was

    def github(self, path):
        if self.headers["Authorization"] != "Bearer good-token":
            return self.answer(401, {"message": "Bad credentials"})
        if self.headers["Accept"] != "application/vnd.github+json" or not self.headers["X-GitHub-Api-Version"]:
            return self.answer(400, {"message": "no version"})
        if path.startswith("/repos/me/full/"):
            return self.answer(422, {"message": "too many\nsecrets", "errors": []})
        if not path.startswith("/repos/me/site/actions/secrets/"):
            return self.answer(404, {"message": "Not Found"})
        name = path.rsplit("/", 1)[1]
        if self.command == "GET" and name == "public-key":
            return self.answer(200, {"key_id": "568250167242549743", "key": base64.b64encode(public.raw).decode()})
        got = self.body()
        if self.command != "PUT" or set(got) != {"encrypted_value", "key_id"} or got["key_id"] != "568250167242549743":
            return self.answer(422, {"message": "Invalid request."})
        value = unseal(base64.b64decode(got["encrypted_value"], validate=True))
        if value is None:
            return self.answer(422, {"message": "not sealed to the key"})
        return self.answer(204) if self.keep(name, value) else self.answer(201, {})

    def gitlab(self, path):
        if self.headers["PRIVATE-TOKEN"] != "good-token":
            return self.answer(401, {"message": "401 Unauthorized"})
        found = re.fullmatch(r"/projects/([^/]+)/variables(?:/(\w+))?", path)
        got = self.body()
        if not found or found[1] not in ("7", "group%2Fsite"):
            return self.answer(404, {"message": "404 Project Not Found"})
        if got.get("masked") and not re.fullmatch(r"[a-zA-Z0-9_+=/@:.~-]{8,}", got["value"]):
            return self.answer(400, {"message": {"value": ["is invalid"]}})
        if self.command == "PUT":
            if found[2] not in variables:
                return self.answer(404, {"message": "404 Variable Not Found"})
            variables[found[2]].update(got)
        elif self.command == "POST" and not found[2]:
            variables[got["key"]] = got
        else:
            return self.answer(405, {"error": "405 Not Allowed"})
        key = found[2] or got["key"]
        self.keep(key, got["value"].encode())
        self.keep(key + ".json", json.dumps(variables[key], sort_keys=True).encode())
        return self.answer(201 if self.command == "POST" else 200, variables[key])

    def handle_any(self):
        if self.path.startswith("/gitlab/api/v4"):
            self.gitlab(self.path[len("/gitlab/api/v4"):])
        elif self.path.startswith("/github"):
            self.github(self.path[len("/github"):])
        else:
            self.answer(404, {"message": "Not Found"})

    do_GET = do_PUT = do_POST = handle_any


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
