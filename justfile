# One line each; `just` lists them. What they call works without just, too.

_default:
    @just --list

# start Gatehouse, and again on every change
run *arguments:
    scripts/dev {{ arguments }}

# all checks and tests, or: unit, http, faults, a name
test *selection:
    scripts/test {{ selection }}

# hold the built program to its document, in every role: --quick
attacks *arguments:
    scripts/attacks {{ arguments }}

# look for bytes that break a parser's promise: TARGET, SECONDS
fuzz *arguments:
    scripts/fuzz {{ arguments }}

# the release gates in their long form: --rounds N, --times N, --only FILTER
faults *arguments:
    scripts/faults {{ arguments }}

# measure speed and memory, write the table of docs/performance.md
bench *arguments:
    scripts/bench {{ arguments }}

# the program that is released: target/dist/gatehouse
build:
    scripts/dist

# format the code
format:
    cargo fmt

# what clippy has to say
lint:
    cargo clippy --all-targets --locked -- -D warnings

# bring the database to the program's schema: up, down, status
migrate direction="up":
    cargo run --locked -- migrate {{ direction }}

# start the container, on SQLite
up:
    docker compose up --build --detach

# start it on PostgreSQL, with Adminer
up-full:
    DATABASE_URI=postgres://gatehouse:gatehouse@postgres/gatehouse docker compose --profile full up --build --detach

# stop the containers; their volumes stay
down:
    docker compose --profile full --profile migrate --profile workos --profile backup down

# follow what the containers say
logs:
    docker compose logs --follow

# run the examples of the documentation against the debug build
examples:
    scripts/examples

# make TypeScript types from the OpenAPI document, and compile and run a client
client:
    scripts/client

# what the program is made of, as CycloneDX
sbom:
    scripts/sbom
