"""What scripts/attacks adds to schemathesis: who asks, and about whom."""

import itertools
import json
import os
import urllib.request

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode

BASE = os.environ["BASE"]
PASSWORD = os.environ["ROLE_PASSWORD"]
# E-mail addresses of accounts of the role, which survive a change of the user name; none for somebody who is not signed in.
ATTACKERS = itertools.cycle(os.environ["ATTACKERS"].split() or [None])
COUNT = len(os.environ["ATTACKERS"].split())
# What there is to be asked about: for each parameter of a path, in turn.
THERE = {name: itertools.cycle(values) for name, values in json.loads(os.environ["THERE"]).items()}


def sign_in(email):
    """An access token, or None where the account has to rest after too many wrong passwords."""
    body = json.dumps({"username": email, "password": PASSWORD}).encode()
    request = urllib.request.Request(f"{BASE}/api/auth/login", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["access_token"]
    except urllib.error.HTTPError as refused:
        print(f"{email} can't sign in: {refused.code}")
        return None


class Attacker:
    """Signed in as one account of the role, and as the next one when a request has ended the session."""

    token = None

    def get(self, case, context):
        for _ in range(COUNT):
            if Attacker.token is None:
                Attacker.token = sign_in(next(ATTACKERS))
        assert Attacker.token, "nobody can sign in any more"
        return Attacker.token

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


if COUNT:
    schemathesis.auth(refresh_interval=None)(Attacker)


@schemathesis.hook
def after_call(context, case, response):
    """Notices that the session is over."""
    asked_with = str((case.headers or {}).get("Authorization"))
    if response.status_code == 401 and asked_with == f"Bearer {Attacker.token}" and b'"token_' in response.content:
        Attacker.token = None


def is_right(case, location):
    """Whether this part of the request is as the document wants it."""
    component = case.meta and case.meta.components.get(location)
    return component is not None and component.mode is GenerationMode.POSITIVE


@schemathesis.hook
def before_call(context, case, kwargs):
    """Asks about something that is there, three times of four, unless the path itself is what is wrong."""
    if "If-Match" in (case.headers or {}) and is_right(case, ParameterLocation.HEADER) and not next(VERSIONS):
        case.headers["If-Match"] = "*"  # nobody guesses a version
    if not is_right(case, ParameterLocation.PATH) or next(LUCK):
        return
    for name in case.path_parameters:
        if name in THERE:
            case.path_parameters[name] = next(THERE[name])


VERSIONS = itertools.cycle([False, False, False, True])
LUCK = itertools.cycle([False, False, False, True])
