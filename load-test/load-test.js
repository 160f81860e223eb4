// The load test: three kinds of users at once. `k6 run load-test.js`; README.md says what can be set.
import http from "k6/http";
import exec from "k6/execution";
import { check, fail, group, sleep } from "k6";
import { Counter, Trend } from "k6/metrics";

const BASE = __ENV.BASE_URL || "http://localhost:8000";
const API = BASE + (__ENV.API_STR || "/api");
const PASSWORD = __ENV.PASSWORD || "seven-Lamps 4 quiet harbours";
const READERS = Number(__ENV.READERS || 20);
const READS = Number(__ENV.READS_PER_SECOND || 200);
const STORM = Number(__ENV.STORM_PER_SECOND || 50);
const DURATION = __ENV.DURATION || "30s";

const journeys = new Trend("journey", true);
const overflow = new Counter("sign_ins_put_off");

export const options = {
  scenarios: {
    // People who come, look round and leave again: everything once.
    journey: { executor: "constant-vus", exec: "journey", vus: Number(__ENV.VUS || 4), duration: DURATION },
    // People who are signed in and read, at a steady pace.
    readers: {
      executor: "constant-arrival-rate", exec: "read",
      rate: READS, timeUnit: "1s", duration: DURATION, preAllocatedVUs: READERS, maxVUs: 4 * READERS,
    },
    // Monday morning: more sign-ins than the cores can hash. Some are put off, nobody waits for long.
    storm: {
      executor: "ramping-arrival-rate", exec: "storm", startTime: "5s",
      startRate: 1, timeUnit: "1s", preAllocatedVUs: 64, maxVUs: 256,
      stages: [{ target: STORM, duration: "5s" }, { target: STORM, duration: "10s" }, { target: 0, duration: "5s" }],
    },
  },
  thresholds: {
    checks: ["rate>0.99"],
    "http_req_duration{kind:read}": ["p(99)<100"],
    "http_req_duration{kind:change}": ["p(99)<500"],
    "http_req_duration{kind:sign_in}": ["p(99)<3000"],
    "http_req_failed{kind:read}": ["rate<0.001"],
    dropped_iterations: ["count<100"],
  },
};

// An overflow that is refused with 503 in good time is an answer, and so is 404 for who has left.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 404, 503));

// --- what is asked

const form = { "Content-Type": "application/x-www-form-urlencoded" };
const json = { "Content-Type": "application/json" };

// Behind a trusted proxy every person has an address of their own, and the throttles count persons, not the test.
function person() {
  const n = exec.scenario.iterationInTest % 0xffffff;
  return { "X-Forwarded-For": `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` };
}

function asking(kind, token, headers = {}) {
  const bearer = token ? { Authorization: `Bearer ${token}` } : {};
  return { headers: Object.assign(bearer, headers), tags: { kind } };
}

function register(username) {
  const body = { username, email: `${username}@example.test`, password: PASSWORD, confirm_password: PASSWORD };
  return http.post(`${API}/auth/register`, JSON.stringify(body), asking("sign_in", null, { ...json, ...person() }));
}

function login(username) {
  const body = { username, password: PASSWORD, grant_type: "password" };
  return http.post(`${API}/auth/login`, body, asking("sign_in", null, { ...form, ...person() }));
}

const me = (token) => http.get(`${API}/user/me`, asking("read", token));

// A sign-in that is put off is tried again after the time that the answer names.
function insisting(attempt) {
  for (let tries = 0; tries < 10; tries++) {
    const answer = attempt();
    if (answer.status !== 503) return answer;
    overflow.add(1);
    sleep(Number(answer.headers["Retry-After"]) || 1);
  }
  fail("put off ten times");
}

// --- who asks

export function setup() {
  const stamp = Date.now().toString(36);
  const names = Array.from({ length: READERS }, (_, n) => `reader_${stamp}_${n}`);
  const tokens = names.map((name) => {
    const answer = insisting(() => register(name));
    if (answer.status !== 201) fail(`${name} can't sign up: ${answer.status} ${answer.body}`);
    return answer.json("access_token");
  });
  return { names, tokens, stamp };
}

export function journey({ stamp }) {
  const username = `k6_${stamp}_${exec.scenario.iterationInTest}`;
  const start = Date.now();
  let token, uuid;
  group("sign up", () => {
    const answer = insisting(() => register(username));
    check(answer, { "signed up": (r) => r.status === 201 && r.json("token_type") === "bearer" });
    http.post(`${API}/auth/logout`, null, asking("change", answer.json("access_token")));
  });
  group("sign in", () => {
    const answer = insisting(() => login(username));
    if (!check(answer, { "signed in": (r) => r.status === 200 })) fail(`${answer.status} ${answer.body}`);
    token = answer.json("access_token");
    const seen = me(token);
    check(seen, { "that is me": (r) => r.status === 200 && r.json("username") === username });
    uuid = seen.json("uuid");
  });
  group("change", () => {
    const body = JSON.stringify({ description: "Here for the load test", first_name: "Kay" });
    const changed = http.patch(`${API}/user/${uuid}`, body, asking("change", token, json));
    check(changed, { changed: (r) => r.status === 200 && r.json("first_name") === "Kay" });
  });
  group("sign out", () => {
    const out = http.post(`${API}/auth/logout`, null, asking("change", token));
    check(out, { "signed out": (r) => r.status === 200 });
    const refused = http.get(`${API}/user/me`, {
      ...asking("refusal", token), responseCallback: http.expectedStatuses(401),
    });
    check(refused, { "at once": (r) => r.status === 401 });
  });
  group("leave", () => {
    token = insisting(() => login(username)).json("access_token");
    const left = http.del(`${API}/user/${uuid}`, null, asking("change", token));
    check(left, { left: (r) => r.status === 200 });
  });
  journeys.add(Date.now() - start);
}

export function read({ tokens }) {
  const token = tokens[exec.scenario.iterationInTest % tokens.length];
  const answer = exec.scenario.iterationInTest % 4 === 0
    ? http.get(`${API}/auth/token/validate`, asking("read", token))
    : me(token);
  check(answer, { read: (r) => r.status === 200 });
}

export function storm({ names }) {
  const answer = login(names[exec.scenario.iterationInTest % names.length]);
  if (answer.status === 503) overflow.add(1);
  check(answer, {
    "signed in, or put off politely": (r) => r.status === 200 || (r.status === 503 && "Retry-After" in r.headers),
  });
}

export function teardown({ tokens }) {
  for (const token of tokens) {
    const uuid = me(token).json("uuid");
    http.del(`${API}/user/${uuid}`, null, asking("change", token));
  }
}
