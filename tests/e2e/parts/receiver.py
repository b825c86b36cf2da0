"""A receiver of webhooks for tests: receiver.py FOLDER. Writes its address to FOLDER/address and each request to
FOLDER/N.json with its headers; answers with the status that stands in FOLDER/answer, or, where that says "hang", never."""
import http.server
import json
import pathlib
import sys
import time

folder = pathlib.Path(sys.argv[1])
count = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = (folder / "answer").read_text().strip()
        count += 1
        temp = folder / "new"
        temp.write_text(json.dumps({"headers": dict(self.headers), "body": body.decode(), "path": self.path}))
        temp.rename(folder / f"{count}.json")
        if answer == "hang":
            time.sleep(3600)
        self.send_response(int(answer))
        if answer == "302":
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
(folder / "new").write_text(f"http://127.0.0.1:{server.server_port}")
(folder / "new").rename(folder / "address")
server.serve_forever()
