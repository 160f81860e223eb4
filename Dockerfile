# syntax=docker/dockerfile:1
# Two stages: a build in which the dependencies are a layer of their own, and an image that holds the program, the
# libraries that it is linked to, the certificates of the public authorities, and nothing else: no shell, no package manager.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# As long as these files stay the same, so does this layer: an empty program with all dependencies. Cargo looks for every
# bench that Cargo.toml names, though it builds none here.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo '//! Nothing yet.' | tee src/lib.rs src/main.rs && echo 'fn main() {}' | tee build.rs >> src/main.rs \
    && touch benches/flags.rs benches/permissions.rs \
    && cargo build --locked --profile dist \
    && rm -r src benches build.rs

COPY . .
# The program is moved to its place when it starts; the list of what has to be put right for that is 1.4 MB, and next to
# nothing when packed. Packed, it needs glibc 2.36 or newer (Debian 12), which this image has; so it is no setting of other
# builds. A linker that can't do it says so and goes on.
RUN touch build.rs src/lib.rs src/main.rs && scripts/dist -C link-arg=-Wl,-z,pack-relative-relocs

# The image's whole file system, in one folder. Without the certificates no other server is believed over TLS: providers,
# WorkOS, webhooks, buckets, amqps and rediss. A list of your own goes to the same place.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/data /image/backups \
    && mkdir -m 1777 /image/tmp \
    && cp target/dist/gatehouse /image/usr/local/bin/ \
    && cp --dereference /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && ldd target/dist/gatehouse | grep -o '/[^ ]*' | xargs -I '{}' cp --dereference --parents '{}' /image \
    && echo 'gatehouse:x:10001:10001:gatehouse:/data:/none' > /image/etc/passwd \
    && chown 10001:10001 /image/data /image/backups

FROM scratch
COPY --from=build /image /
USER 10001:10001
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
VOLUME /data
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/gatehouse", "health"]
ENTRYPOINT ["/usr/local/bin/gatehouse"]
