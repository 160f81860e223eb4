#!/usr/bin/env python3
"""The main ways through the interface of Gatehouse, with nothing but Python's standard library.

    python3 journey.py [ADDRESS]        default: http://localhost:8000

Makes an account with a random name. With ADMIN_USERNAME and ADMIN_PASSWORD in the environment, what admins do comes too;
its webhook leads to this machine, which Gatehouse allows with WEBHOOK_ALLOW_PRIVATE=True only.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import secrets
import struct
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

BASE = (sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000").rstrip("/")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


# --- asking


class Problem(Exception):
    """An answer that is no success: RFC 9457, always of the same shape. `code` is what programs look at."""

    def __init__(self, status, body, headers):
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.status, self.code, self.body, self.headers = status, body.get("code"), body, headers


def ask(method, path, body=None, token=None, data=None, headers=None):
    """The answer's body (JSON read, anything else as bytes) and its headers. Waits once where it is told to."""
    headers = dict(headers or {})
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = path if path.startswith("http") else BASE + path
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    for attempt in range(2):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
                is_json = answer.headers.get_content_type() == "application/json"
                return (json.loads(content) if is_json else content), answer.headers
        except urllib.error.HTTPError as error:
            if error.code in (429, 503) and attempt == 0:
                time.sleep(min(int(error.headers.get("Retry-After", 1)), 10))
                continue
            raise Problem(error.code, json.loads(error.read() or b"{}"), error.headers) from None


def upload(method, path, name, content, kind, token):
    """A file, as browsers send it (multipart/form-data)."""
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
    data = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return ask(method, path, data=data, token=token, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})


# --- second factor


def totp(secret, step):
    """The code of a step of 30 seconds (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


# --- webhooks


def is_genuine(secret, headers, body, now=None):
    """Whether a webhook was sent by who knows the secret, and not long ago (Standard Webhooks)."""
    sent = headers["webhook-timestamp"]
    if abs((now or time.time()) - int(sent)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{sent}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    # While a secret is rotated, there are two signatures.
    return any(hmac.compare_digest(expected, given) for given in headers["webhook-signature"].split())


def receive_one():
    """A receiver for one webhook: its address, and what to call to get the request."""
    box = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            box.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()

    def result():
        thread.join(20)
        return box[0]

    return f"http://127.0.0.1:{server.server_port}/hooks", result


# --- what users do


def person():
    name, password = "py_" + secrets.token_hex(5), secrets.token_urlsafe(18)
    account = {"username": name, "email": f"{name}@example.com", "password": password, "confirm_password": password}
    token, _ = ask("POST", "/api/auth/register", account)
    if "access_token" not in token:
        sys.exit("this server has addresses proved first: the rest of this example begins behind the mailed link")
    print("signed up", name)

    try:
        ask("POST", "/api/auth/login", {"username": name, "password": "not this one"})
    except Problem as problem:
        assert (problem.status, problem.code) == (401, "invalid_credentials"), problem
    time.sleep(1.1)  # a wrong password makes the next try wait a second
    token, _ = ask("POST", "/api/auth/login", {"username": name, "password": password})
    access, refresh = token["access_token"], token["refresh_token"]

    me, headers = ask("GET", "/api/user/me", token=access)
    print("signed in as", me["username"], me["roles"])

    # Only if nobody else has changed it since it was read.
    me, _ = ask("PATCH", f"/api/user/{me['uuid']}", {"description": "Likes harbours."}, access,
                headers={"If-Match": headers["ETag"]})
    assert me["description"] == "Likes harbours."

    # Each refresh token works once; keep the new one.
    token, _ = ask("POST", "/api/auth/token/refresh", {"refresh_token": refresh})
    access = token["access_token"]
    print("refreshed for", token["expires_in"], "seconds")

    picture, _ = upload("PUT", f"/api/user/{me['uuid']}/image", "me.png", PIXEL, "image/png", access)
    face, headers = ask("GET", f"/api/user/{me['uuid']}/image?size=64")
    print("picture", picture["id"], headers.get_content_type(), len(face), "bytes")

    file, _ = upload("POST", "/api/file", "notes.txt", b"four quiet harbours", "text/plain", access)
    content, _ = ask("GET", f"/api/file/{file['id']}/file", token=access)
    assert content == b"four quiet harbours"
    ask("DELETE", f"/api/file/{file['id']}", token=access)
    print("file", file["id"], file["sha256"][:12])

    flags, _ = ask("GET", "/api/flags", token=access)
    print(len(flags), "flags; new-checkout is", is_on("new-checkout", me["uuid"], access, default=False))
    assert is_on("READ_USERS_ME", me["uuid"], access, default=False)

    second_factor(name, password, access)


def is_on(flag, user, access, default):
    """A feature flag for a user (OFREP): what it is, or the default where the server does not know it."""
    try:
        answer, _ = ask("POST", f"/ofrep/v1/evaluate/flags/{flag}", {"context": {"targetingKey": user}}, access)
        return answer["value"]
    except Problem as problem:
        if problem.status == 404:
            return default
        raise


def second_factor(name, password, access):
    # Within ten minutes of a sign-in; later, POST /api/auth/reauthenticate comes first.
    seed, _ = ask("GET", "/api/auth/QR", token=access, headers={"Accept": "application/json"})
    step = int(time.time()) // 30
    me, _ = ask("PATCH", "/api/auth/OTP/authenticator", {"otp_code": totp(seed["secret"], step)}, access)
    codes = me["recovery_codes"]
    print("second factor on;", len(codes), "recovery codes")

    try:
        ask("POST", "/api/auth/login", {"username": name, "password": password})
        sys.exit("a second factor must be asked for")
    except Problem as problem:
        assert problem.code == "otp_required", problem
        challenge = problem.body["otp_token"]
    # Each code works once, so it is the next one; a person waits for it, and one step ahead is taken.
    code = totp(seed["secret"], max(step + 1, int(time.time()) // 30))
    token, _ = ask("POST", "/api/auth/OTP", {"otp_token": challenge, "otp_code": code})
    print("signed in with a second factor")
    ask("POST", "/api/auth/logout", token=token["access_token"])
    try:
        ask("GET", "/api/user/me", token=token["access_token"])
        sys.exit("signed out, and yet let in")
    except Problem as problem:
        assert problem.status == 401, problem
    print("signed out")


# --- what admins do


def admin(name, password):
    token, _ = ask("POST", "/api/auth/login", {"username": name, "password": password})
    access = token["access_token"]

    seen, path = 0, "/api/user?limit=2&order=desc"
    while path and seen < 6:
        page, headers = ask("GET", path, token=access)
        seen += len(page)
        path = next_of(headers.get("Link"))
    print("read", seen, "of", headers["X-Total-Count"], "users, page by page")

    address, received = receive_one()
    webhook, _ = ask("POST", "/api/admin/webhooks", {"url": address, "event_types": ["user.created"]}, access)
    ask("POST", f"/api/admin/webhooks/{webhook['webhook']['id']}/test", token=access)
    headers, body = received()
    assert is_genuine(webhook["secret"], headers, body)
    assert not is_genuine(webhook["secret"], headers, body + b" ")
    assert not is_genuine(webhook["secret"], headers, body, now=time.time() + 600)
    ask("DELETE", f"/api/admin/webhooks/{webhook['webhook']['id']}", token=access)
    print("webhook", json.loads(body)["event_type"], "is genuine")

    after = None
    while True:
        query = urllib.parse.urlencode({"limit": 100} | ({"after": after} if after else {}))
        events, _ = ask("GET", f"/api/admin/events?{query}", token=access)
        if not events:
            break
        after = events[-1]["event_id"]  # keep it with what you did: the next time begins behind it
    print("read the feed of events up to", after)


def next_of(link):
    """The address of the next page in a header `Link` (RFC 8288), or None."""
    for part in (link or "").split(","):
        target, _, parameters = part.partition(";")
        if 'rel="next"' in parameters:
            return urllib.parse.urljoin(BASE, target.strip(" <>"))
    return None


if __name__ == "__main__":
    person()
    if os.environ.get("ADMIN_USERNAME"):
        admin(os.environ["ADMIN_USERNAME"], os.environ["ADMIN_PASSWORD"])
    else:
        print("no ADMIN_USERNAME: what admins do is left out")
