//! What the process takes of its machine, by the names that Prometheus has for it.

use std::fmt;
use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use prometheus_client::encoding::DescriptorEncoder;

use super::rows::{count, gauge};

/// How many ticks a second has in `/proc`, on every Linux.
const TICKS: f64 = 100.0;

/// Writes what the system tells of this process; nothing of what it does not tell.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let spent = seconds(usage.user_time()) + seconds(usage.system_time());
        count(
            encoder,
            "process_cpu_seconds",
            "CPU time that it has used",
            [([], spent)],
        )?;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        let help = "Memory that it has in RAM";
        gauge(encoder, "process_resident_memory_bytes", help, [([], kib * 1024.0)])?;
    }
    if let Some(threads) = field(&status, "Threads:") {
        gauge(encoder, "process_threads", "Threads", [([], threads)])?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let open = open.count() as f64;
        gauge(encoder, "process_open_fds", "Descriptors that are open", [([], open)])?;
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let help = "Descriptors that may be open";
        gauge(encoder, "process_max_fds", help, [([], limit as f64)])?;
    }
    if let Some(started) = started() {
        let help = "When it was started, since the epoch";
        gauge(encoder, "process_start_time_seconds", help, [([], started)])?;
    }
    Ok(())
}

/// The number after `name`, in the lines of `/proc`.
fn field(lines: &str, name: &str) -> Option<f64> {
    let rest = lines.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// When the process was started, in seconds since the epoch.
fn started() -> Option<f64> {
    let machine = field(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    let process = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the parenthesis may hold anything; the start is the twentieth field after it.
    let ticks: f64 = process.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    Some(machine + ticks / TICKS)
}
