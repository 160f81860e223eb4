#!/usr/bin/env bash
# The main ways through the interface of Gatehouse, with curl, jq and openssl.
#
#   bash journey.sh [ADDRESS]        default: http://localhost:8000
#
# Makes an account with a random name. With ADMIN_USERNAME and ADMIN_PASSWORD in the environment, what admins do comes too; its
# webhook leads nowhere on this machine, which Gatehouse allows with WEBHOOK_ALLOW_PRIVATE=True only.
set -euo pipefail

BASE=${1:-http://localhost:8000}
FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT

# --- asking

# ask METHOD PATH [option of curl…]: prints the body; a refusal is told on the standard error and fails.
ask() {
  local method=$1 path=$2 status
  shift 2
  status=$(curl -sS -X "$method" "$BASE$path" -o "$FOLDER/body" -D "$FOLDER/head" -w '%{http_code}' "$@")
  cat "$FOLDER/body"
  [[ $status == 2* ]] || { printf '\n%s %s: %s\n' "$method" "$path" "$status" >&2; return 1; }
}

# refused CODE METHOD PATH …: the request must be refused with this `code`; prints the problem.
refused() {
  local code=$1 problem
  shift
  if problem=$(ask "$@" 2>/dev/null); then echo "$* should have been refused" >&2; return 1; fi
  jq -e --arg code "$code" 'select(.code == $code)' <<<"$problem"
}

bearer() { printf 'Authorization: Bearer %s' "$1"; }

# --- second factor

# totp SECRET STEP: the code of a step of 30 seconds (RFC 6238).
totp() {
  local key digest offset
  key=$(base32 -d <<<"$1" | od -An -v -tx1 | tr -d ' \n')
  digest=$(printf '%016x' "$2" | sed 's/../\\x&/g' | xargs -0 printf '%b' |
    openssl dgst -sha1 -mac HMAC -macopt "hexkey:$key" | sed 's/.*= //')
  offset=$((16#${digest:39:1} * 2))
  printf '%06d' $(((16#${digest:offset:8} & 0x7fffffff) % 1000000))
}

# --- what users do

person() {
  local name password account token access user etag file seed step challenge
  name=sh_$(openssl rand -hex 5)
  password=$(openssl rand -base64 18)
  account=$(jq -n --arg name "$name" --arg password "$password" \
    '{username: $name, email: "\($name)@example.com", password: $password, confirm_password: $password}')
  ask POST /api/auth/register --json "$account" >"$FOLDER/token"
  jq -e .access_token "$FOLDER/token" >/dev/null ||
    { echo "this server has addresses proved first: the rest begins behind the mailed link" >&2; return 1; }
  echo "signed up $name"

  refused invalid_credentials POST /api/auth/login -d "username=$name" -d 'password=not this one' >/dev/null
  sleep 1.1 # a wrong password makes the next try wait a second
  # The form of OAuth2 is taken as well as JSON.
  token=$(ask POST /api/auth/login -d "username=$name" --data-urlencode "password=$password")
  access=$(jq -r .access_token <<<"$token")
  user=$(ask GET /api/user/me -H "$(bearer "$access")" | jq -r .uuid)
  etag=$(sed -n 's/^etag: \(.*\)\r$/\1/Ip' "$FOLDER/head")
  echo "signed in as $user"

  # Only if nobody else has changed it since it was read.
  ask PATCH "/api/user/$user" -H "$(bearer "$access")" -H "If-Match: $etag" --json '{"description": "Likes harbours."}' |
    jq -e '.description == "Likes harbours."' >/dev/null

  # Each refresh token works once; keep the new one.
  token=$(ask POST /api/auth/token/refresh -d "refresh_token=$(jq -r .refresh_token <<<"$token")")
  access=$(jq -r .access_token <<<"$token")
  echo "refreshed for $(jq .expires_in <<<"$token") seconds"

  base64 -d >"$FOLDER/me.png" \
    <<<iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
  ask PUT "/api/user/$user/image" -H "$(bearer "$access")" -F "file=@$FOLDER/me.png;type=image/png" >/dev/null
  ask GET "/api/user/$user/image?size=64" >"$FOLDER/face.png"
  echo "picture of $(wc -c <"$FOLDER/face.png") bytes"

  printf 'four quiet harbours' >"$FOLDER/notes.txt"
  file=$(ask POST /api/file -H "$(bearer "$access")" -F "file=@$FOLDER/notes.txt" | jq .id)
  ask GET "/api/file/$file/file" -H "$(bearer "$access")" | cmp - "$FOLDER/notes.txt"
  ask DELETE "/api/file/$file" -H "$(bearer "$access")" >/dev/null
  echo "file $file"

  echo "$(ask GET /api/flags -H "$(bearer "$access")" | jq length) flags"
  ask POST /ofrep/v1/evaluate/flags/READ_USERS_ME -H "$(bearer "$access")" --json "{\"context\": {\"targetingKey\": \"$user\"}}" |
    jq -e .value >/dev/null

  # Within ten minutes of a sign-in; later, POST /api/auth/reauthenticate comes first.
  seed=$(ask GET /api/auth/QR -H "$(bearer "$access")" -H 'Accept: application/json' | jq -r .secret)
  step=$(($(date +%s) / 30))
  ask PATCH /api/auth/OTP/authenticator -H "$(bearer "$access")" -d "otp_code=$(totp "$seed" "$step")" |
    jq -r '"second factor on; \(.recovery_codes | length) recovery codes"'
  challenge=$(refused otp_required POST /api/auth/login -d "username=$name" --data-urlencode "password=$password" | jq -r .otp_token)
  # Each code works once, so it is the next one; a person waits for it, and one step ahead is taken.
  access=$(ask POST /api/auth/OTP -d "otp_token=$challenge" -d "otp_code=$(totp "$seed" $((step + 1)))" | jq -r .access_token)
  echo "signed in with a second factor"
  ask POST /api/auth/logout -H "$(bearer "$access")" >/dev/null
  refused token_invalid GET /api/user/me -H "$(bearer "$access")" >/dev/null
  echo "signed out"
}

# --- what admins do

# signature SECRET ID TIMESTAMP BODY: what stands in `webhook-signature` (Standard Webhooks).
signature() {
  local key
  key=$(base64 -d <<<"${1#whsec_}" | od -An -v -tx1 | tr -d ' \n')
  printf 'v1,%s' "$(printf '%s.%s.%s' "$2" "$3" "$4" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)"
}

admin() {
  local access path='/api/user?limit=2&order=desc' pages=0 made id after='' events
  access=$(ask POST /api/auth/login --data-urlencode "username=$1" --data-urlencode "password=$2" | jq -r .access_token)

  while [[ -n $path && $pages -lt 3 ]]; do
    ask GET "$path" -H "$(bearer "$access")" >/dev/null
    pages=$((pages + 1))
    path=$(sed -n 's/^link: .*<[^>]*\(\/api\/[^>]*\)>; rel="next".*/\1/Ip' "$FOLDER/head")
  done
  echo "read $pages pages of users, of $(sed -n 's/^x-total-count: \([0-9]*\).*/\1/Ip' "$FOLDER/head") in all"

  made=$(ask POST /api/admin/webhooks -H "$(bearer "$access")" --json '{"url": "http://127.0.0.1:9/hooks", "event_types": ["user.created"]}')
  id=$(jq -r .webhook.id <<<"$made")
  ask POST "/api/admin/webhooks/$id/test" -H "$(bearer "$access")" | jq -c .
  echo "its receiver would expect, for the body {}: $(signature "$(jq -r .secret <<<"$made")" an-id 1767225600 '{}')"
  ask DELETE "/api/admin/webhooks/$id" -H "$(bearer "$access")" >/dev/null

  while events=$(ask GET "/api/admin/events?limit=100${after:+&after=$after}" -H "$(bearer "$access")"); do
    [[ $(jq length <<<"$events") -gt 0 ]] || break
    after=$(jq -r '.[-1].event_id' <<<"$events") # keep it with what you did: the next time begins behind it
  done
  echo "read the feed of events up to $after"
}

person
if [[ -n ${ADMIN_USERNAME:-} ]]; then admin "$ADMIN_USERNAME" "$ADMIN_PASSWORD"; else echo "no ADMIN_USERNAME: what admins do is left out"; fi
