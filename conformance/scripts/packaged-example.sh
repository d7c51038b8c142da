#!/usr/bin/env bash
# nocopy-transfer in a scratch project, from the files that `cargo package` makes: what a registry would hand out.
set -euo pipefail
scratch=$(mktemp --directory)
trap 'rm --recursive --force "$scratch"' EXIT
crates=(copy-file-range mmap msg-zerocopy sendfile splice transfer)
packages=("${crates[@]/#/--package=nocopy-}")
# What is packaged is what is committed; each package is built from its own files below.
cargo package --quiet --no-verify --target-dir "$scratch/packages" "${packages[@]}"
mkdir "$scratch/vendor" "$scratch/project" "$scratch/project/src"
for crate in "${crates[@]}"; do
    tar --extract --gzip --directory "$scratch/vendor" --file "$scratch"/packages/package/nocopy-"$crate"-*.crate
done
cd "$scratch/project"
{
    printf '[workspace]\n\n[package]\nname = "project"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n'
    printf 'nocopy-transfer = { version = "0.1.0", features = ["tokio", "mio", "tracing"] }\n\n[patch.crates-io]\n'
    for crate in "${crates[@]}"; do
        printf 'nocopy-%s = { path = "%s" }\n' "$crate" "$(echo "$scratch"/vendor/nocopy-"$crate"-*)"
    done
} >Cargo.toml
cat >src/main.rs <<'PROGRAM'
use nocopy_transfer::{Stability, copy, copy_range};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut file = File::options().read(true).write(true).create_new(true).open("page")?;
    file.write_all(&[b'n'; 70_000])?;
    let (near, mut far) = UnixStream::pair()?;
    println!("{}", copy_range(&file, 0, 70_000, &near, Stability::Snapshot)?);
    drop(near);
    let copied = File::options().read(true).write(true).create_new(true).open("copy")?;
    println!("{}", copy(&File::open("page")?, &copied, Stability::Snapshot)?);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes)?;
    assert!(bytes == [b'n'; 70_000] && std::fs::read("copy")? == bytes);
    Ok(())
}
PROGRAM
cargo run --quiet
echo "the packaged crates build, and every byte came"
