//! Writes ClientHellos of rustls as seeds of `framing_tls`.

#[path = "../crates/headstart-core/tests/model/hellos.rs"]
mod hellos;

use std::path::Path;

/// What the target takes for its cuts: none but the end, no limit.
const CUTS: [u8; 4] = [0; 4];

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/framing_tls");
    std::fs::create_dir_all(&seeds)?;
    for hello in hellos::HELLOS.iter() {
        let name = hello.name.replace([' ', '.'], "-");
        std::fs::write(seeds.join(name), [&CUTS, hello.bytes.as_slice()].concat())?;
    }
    Ok(())
}
