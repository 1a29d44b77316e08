//! The addresses that may come in, from a file that is read again when it changes.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::runtime::Handle;

use crate::auth::AuthConfigError;
use crate::auth::secrets::{self, Exposure, Kind, Live};
use crate::config::network;

/// ALLOW_FROM_FILE.
const ALLOW_FROM: Kind<IpNet> = Kind {
    setting: Cow::Borrowed("ALLOW_FROM_FILE"),
    file_setting: Cow::Borrowed("ALLOW_FROM_FILE"),
    expected: "addresses or networks, one a line",
    least_bytes: 0,
    lengths: |_| Vec::new(),
    parse: networks,
};

/// The networks whose addresses may come in.
pub(super) struct Allowed(Arc<Live<IpNet>>);

impl Allowed {
    /// Reads the file, and inside a runtime watches it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn read(file: &Path) -> Result<Self, AuthConfigError> {
        let live = Arc::new(Live::read(ALLOW_FROM, None, Some(file), Exposure::Loopback)?);
        if let Ok(runtime) = Handle::try_current() {
            secrets::watch(&runtime, &live, Live::poll);
        }
        Ok(Self(live))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.current().iter().any(|network| network.contains(&address))
    }
}

/// `#` begins a comment.
fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| network(line).map_err(|wrong| format!("line {number}: {wrong}")))
        .collect()
}
