# The gateway as a release, but with names, and linked in less time. Sourced,
# never run.

# build_named TARGET [RUSTFLAG]: into TARGET/release.
build_named() {
  RUSTFLAGS="${2:-}" CARGO_PROFILE_RELEASE_STRIP=none \
    CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=thin \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo build --release --locked --quiet --target-dir "$1" -p llm-proxy
}
