//! Contestant (b): pgbench making single-row INSERTs into the log.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::shared::contestant::default_settings;
use crate::shared::load::CONNECTIONS;
use crate::shared::slice::Slice;

/// One row as the load's events make it.
const SCRIPT: &str = r#"insert into rejoinder.event_log values (nextval('rejoinder.event_positions'), (random() * 31)::smallint, 'generic', gen_random_uuid()::text, 'parcel.moved', gen_random_uuid()::text, null, 1, now(), now(), '{"status":"in transit","carrier":"Example Post","place":{"depot":"Leipzig north, hall 4","country":"DE","latitude":51.4239,"longitude":12.2364},"weight_g":1240,"pieces":1,"signature_required":false,"expected":"2025-06-27","note":"Handed over by the carrier of the first leg; the label was scanned twice and replaced once."}', null);
"#;

/// Inserts for so many seconds; its latencies are a mean, not quantiles, so there are none in the slice.
pub(crate) fn insert(dir: &Path, bindir: Option<&Path>, url: &str, seconds: u64) -> anyhow::Result<Slice> {
    let script = dir.join("insert.sql");
    fs::write(&script, SCRIPT)?;
    let program = bindir.map(|dir| dir.join("pgbench")).filter(|program| program.exists());
    let mut command = Command::new(program.as_deref().unwrap_or(Path::new("pgbench")));
    let output = default_settings(&mut command)
        .args([
            "-n",
            "-j",
            "2",
            "-c",
            &CONNECTIONS.to_string(),
            "-T",
            &seconds.to_string(),
            "-f",
        ])
        .arg(&script)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("pgbench cannot be run")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rate = printed
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let rate: f64 = rate.with_context(|| format!("found {printed:?}, expected a line with tps"))?;
    Ok(Slice {
        turns: (rate * seconds as f64) as u64,
        seconds: seconds as f64,
        ..Slice::default()
    })
}
