// The load test: several kinds of users at once. `k6 run load-test.js`; README.md says what can be set.
import http from "k6/http";
import encoding from "k6/encoding";
import exec from "k6/execution";
import { check, fail, group, sleep } from "k6";
import { Counter, Trend } from "k6/metrics";

const BASE = __ENV.BASE_URL || "http://localhost:8000";
const API = BASE + (__ENV.API_STR || "/api");
const PASSWORD = __ENV.PASSWORD || "seven-Lamps 4 quiet harbours";
const READERS = Number(__ENV.READERS || 20);
const CROWD = Number(__ENV.CROWD || 20);
const READS = Number(__ENV.READS_PER_SECOND || 200);
const STORM = Number(__ENV.STORM_PER_SECOND || 50);
const OVERLOAD = Number(__ENV.OVERLOAD_PER_SECOND || 400);
const SECONDS = Number((__ENV.DURATION || "30s").replace(/s$/, ""));
const CHOSEN = (__ENV.SCENARIOS || "journey,readers,storm,overload,recovery").split(",");

const journeys = new Trend("journey", true);
const overflow = new Counter("put_off");

// A picture of 64 by 64, and a file of a kilobyte.
const PICTURE = encoding.b64decode(
  "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAT0lEQVR42u3PQQkAAAgEsOtkJzvZ1gi+hcEKLNXzWgQEBAQEBAQEBAQEBAQEBA" +
    "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQELgvaSCEeGLTzSwAAAABJRU5ErkJggg==",
  "std",
);
const NOTES = "What was said at the harbour.\n".repeat(34);

const scenarios = {
  // People who come, look round, leave something and leave again: everything once.
  journey: { executor: "constant-vus", exec: "journey", vus: Number(__ENV.VUS || 4), duration: `${SECONDS}s` },
  // Nearly everybody reads: who is signed in, at a steady pace whatever the rest does.
  readers: {
    executor: "constant-arrival-rate", exec: "read",
    rate: READS, timeUnit: "1s", duration: `${SECONDS}s`, preAllocatedVUs: READERS, maxVUs: 4 * READERS,
  },
  // Monday morning: more sign-ins than the cores can hash. Some are put off, nobody waits for long.
  storm: {
    executor: "ramping-arrival-rate", exec: "storm", startTime: "5s",
    startRate: 1, timeUnit: "1s", preAllocatedVUs: 64, maxVUs: 256,
    stages: [{ target: STORM, duration: "5s" }, { target: STORM, duration: "10s" }, { target: 0, duration: "5s" }],
  },
  // Then far too much of everything that costs: it may be put off, politely and soon, and nothing may break.
  overload: {
    executor: "constant-arrival-rate", exec: "overload", startTime: `${Math.max(SECONDS, 25) + 5}s`,
    rate: OVERLOAD, timeUnit: "1s", duration: "10s", preAllocatedVUs: 64, maxVUs: 512,
  },
  // And right afterwards everything is as quick as before.
  recovery: {
    executor: "constant-arrival-rate", exec: "recover", startTime: `${Math.max(SECONDS, 25) + 20}s`,
    rate: READS, timeUnit: "1s", duration: "10s", preAllocatedVUs: READERS, maxVUs: 4 * READERS,
  },
};

export const options = {
  scenarios: Object.fromEntries(Object.entries(scenarios).filter(([name]) => CHOSEN.includes(name))),
  thresholds: {
    checks: ["rate>0.99"],
    "http_req_duration{kind:read}": ["p(99)<100"],
    "http_req_duration{kind:change}": ["p(99)<500"],
    "http_req_duration{kind:upload}": ["p(99)<1000"],
    "http_req_duration{kind:sign_in}": ["p(99)<3000"],
    "http_req_duration{kind:overload}": ["p(99)<5000"],
    "http_req_duration{kind:recovered}": ["p(99)<100"],
    "http_req_failed{kind:read}": ["rate<0.001"],
    "http_req_failed{kind:overload}": ["rate<0.001"],
    "http_req_failed{kind:recovered}": ["rate<0.001"],
    "dropped_iterations{scenario:readers}": ["count<100"],
    "dropped_iterations{scenario:recovery}": ["count<100"],
  },
};

// An overflow that is refused in good time is an answer, and so is 404 for who has left.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 399 }, 404, 429, 503));

// --- what is asked

const form = { "Content-Type": "application/x-www-form-urlencoded" };
const json = { "Content-Type": "application/json" };

// Behind a trusted proxy every person has an address of their own, and the throttles count persons, not the test.
// There is no scenario while the test is set up: each of the readers comes from an address of a network of their own.
function person(reader) {
  if (reader !== undefined) return { "X-Forwarded-For": `172.16.${reader >> 8}.${reader & 255}` };
  const n = exec.scenario.iterationInTest % 0xffffff;
  return { "X-Forwarded-For": `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` };
}

function asking(kind, token, headers = {}) {
  const bearer = token ? { Authorization: `Bearer ${token}` } : {};
  return { headers: Object.assign(bearer, headers), tags: { kind } };
}

function register(username, reader) {
  const body = { username, email: `${username}@example.test`, password: PASSWORD, confirm_password: PASSWORD };
  return http.post(`${API}/auth/register`, JSON.stringify(body), asking("sign_in", null, { ...json, ...person(reader) }));
}

function login(username, kind = "sign_in", reader) {
  const body = { username, password: PASSWORD, grant_type: "password" };
  return http.post(`${API}/auth/login`, body, asking(kind, null, { ...form, ...person(reader) }));
}

const me = (token, kind = "read") => http.get(`${API}/user/me`, asking(kind, token));

const setPicture = (token, uuid, kind = "upload") =>
  http.put(`${API}/user/${uuid}/image`, { file: http.file(PICTURE, "me.png", "image/png") }, asking(kind, token, person()));

// 503: the server has no room; 429: this account is being signed in to too often at the same moment.
const isPutOff = (answer) => [429, 503].includes(answer.status) && "Retry-After" in answer.headers;

// What is put off is tried again after the time that the answer names.
function insisting(attempt) {
  for (let tries = 0; tries < 10; tries++) {
    const answer = attempt();
    if (!isPutOff(answer)) return answer;
    overflow.add(1);
    sleep(Number(answer.headers["Retry-After"]) || 1);
  }
  fail("put off ten times");
}

// --- who asks

// Those who read stay signed in; the crowd signs in again and again, which ends a person's oldest sessions.
export function setup() {
  const stamp = Date.now().toString(36);
  const people = Array.from({ length: READERS + CROWD }, (_, n) => {
    const name = `${n < READERS ? "reader" : "crowd"}_${stamp}_${n}`;
    const answer = insisting(() => register(name, n));
    if (answer.status !== 201) fail(`${name} can't sign up: ${answer.status} ${answer.body}`);
    const token = answer.json("access_token");
    return { name, token, uuid: me(token, "setup").json("uuid") };
  });
  return { readers: people.slice(0, READERS), crowd: people.slice(READERS), stamp };
}

// The journey of the load test of S1, and what it left out.
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
  group("picture", () => {
    const picture = `${API}/user/${uuid}/image`;
    const initials = http.get(picture, asking("read", token));
    check(initials, { "initials first": (r) => r.status === 200 && r.headers["Content-Type"] === "image/png" });
    const set = insisting(() => setPicture(token, uuid));
    check(set, { "picture up": (r) => r.status === 200 && r.json("id") > 0 });
    const got = http.get(picture, asking("read", token));
    check(got, { "picture down": (r) => r.status === 200 && r.headers.Etag !== initials.headers.Etag });
    const kept = http.get(picture, asking("read", token, { "If-None-Match": got.headers.Etag }));
    check(kept, { "picture kept": (r) => r.status === 304 });
    const gone = http.del(`${API}/file/${set.json("id")}`, null, asking("change", token));
    check(gone, { "picture gone": (r) => r.status === 200 });
  });
  group("file", () => {
    const body = { file: http.file(NOTES, "notes.txt", "text/plain") };
    const answer = insisting(() => http.post(`${API}/file`, body, asking("upload", token, person())));
    check(answer, { "file up": (r) => r.status === 201 && r.json("size") === NOTES.length });
    const content = http.get(`${API}/file/${answer.json("id")}/file`, asking("read", token));
    check(content, { "file down": (r) => r.status === 200 && r.body === NOTES });
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

function anybody(people) {
  return people[exec.scenario.iterationInTest % people.length];
}

// Of a hundred requests, ninety-nine read and one changes something.
function look(people, kind) {
  const { token, uuid } = anybody(people);
  const n = exec.scenario.iterationInTest % 100;
  if (n === 99) {
    const body = JSON.stringify({ description: `Read ${exec.scenario.iterationInTest} times` });
    return http.patch(`${API}/user/${uuid}`, body, asking("change", token, json));
  }
  if (n % 4 === 0) return http.get(`${API}/auth/token/validate`, asking(kind, token));
  if (n % 10 === 1) return http.get(`${API}/user/${uuid}/image`, asking(kind, token));
  return me(token, kind);
}

export function read({ readers }) {
  check(look(readers, "read"), { read: (r) => r.status === 200 });
}

export function recover({ readers }) {
  check(look(readers, "recovered"), { "as quick as before": (r) => r.status === 200 });
}

export function storm({ crowd }) {
  const answer = login(anybody(crowd).name);
  if (isPutOff(answer)) overflow.add(1);
  check(answer, { "signed in, or put off politely": (r) => r.status === 200 || isPutOff(r) });
}

export function overload({ readers, crowd }) {
  const { token, uuid } = anybody(readers);
  const acts = [
    () => login(anybody(crowd).name, "overload"),
    () => setPicture(token, uuid, "overload"),
    () => http.get(`${API}/file?limit=100`, asking("overload", token)),
    () => me(token, "overload"),
  ];
  const answer = acts[exec.scenario.iterationInTest % acts.length]();
  if (isPutOff(answer)) overflow.add(1);
  check(answer, { "served, or put off politely": (r) => r.status === 200 || isPutOff(r) });
}

export function teardown({ readers, crowd }) {
  [...readers, ...crowd].forEach(({ name, token, uuid }, n) => {
    const left = http.del(`${API}/user/${uuid}`, null, asking("teardown", token));
    if (left.status === 200) return;
    const anew = insisting(() => login(name, "teardown", n)).json("access_token");
    http.del(`${API}/user/${uuid}`, null, asking("teardown", anew));
  });
}
