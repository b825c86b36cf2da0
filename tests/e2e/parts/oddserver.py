"""oddserver.py CERTIFICATE KEY TEXT: gives TEXT as /key over https and http on free loopback ports, and other paths'
faults. Prints both ports."""
import http.server
import ssl
import sys
import threading

certificate, key, text = sys.argv[1:]
body = open(text, "rb").read()
ports = []


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        moved = self.path == "/moved"
        self.send_response(301 if moved else 500 if self.path == "/broken" else 200)
        if moved:
            self.send_header("Location", f"https://127.0.0.1:{ports[0]}/key")
        data = {"/endless": b"x" * 100000, "/two": body * 2}.get(self.path, body)
        self.send_header("Content-Length", str(len(data) + 100 * (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(data)


def serve(tls):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    ports.append(server.server_port)
    threading.Thread(target=server.serve_forever).start()


serve(True)
serve(False)
print(*ports, flush=True)
