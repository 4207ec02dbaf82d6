# One door for every chore. Each recipe is what you would type.

# a working system with a simulated carrier
dev:
    cargo run --release -- dev

# all tests
test:
    cargo test --workspace

# what a change must pass
check:
    .ci/run

# hunt for inputs that break something: just fuzz smpp_frame 600
fuzz target="all" seconds="60":
    cargo run --release -p tidings-fuzz -- {{target}} --seconds {{seconds}}

# the tests about the repository itself: seconds
rules:
    cargo test -p tidings-checks

# how fast it is on this machine, with every message accounted for (options: just bench --profile batch)
bench *options:
    cargo build --release -p tidings-cli -p tidings-bench
    target/release/tidings-bench run --binary target/release/tidings {{options}}

# the documentation as pages (needs mdbook)
docs:
    mdbook build docs

# write what is generated again: openapi.json, config.example.toml
update:
    UPDATE=1 cargo test --workspace
