//! Which neighbours are installed, and how to get those that are not.

use std::path::PathBuf;
use std::process::Command;

/// A neighbour.
#[derive(Debug, Clone, Copy)]
pub enum Peer {
    Yr,
    Yara,
    Clamd,
    Clamdscan,
}

impl Peer {
    pub const ALL: [Self; 4] = [Self::Yr, Self::Yara, Self::Clamd, Self::Clamdscan];

    pub fn name(self) -> &'static str {
        match self {
            Self::Yr => "yr",
            Self::Yara => "yara",
            Self::Clamd => "clamd",
            Self::Clamdscan => "clamdscan",
        }
    }

    /// How to install it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Yr => "cargo install yara-x-cli",
            Self::Yara => "apt install yara",
            Self::Clamd => "apt install clamav-daemon",
            Self::Clamdscan => "apt install clamdscan",
        }
    }

    /// Where it is.
    pub fn path(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places =
            std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        places.map(|place| place.join(self.name())).find(|path| path.is_file())
    }

    /// Where it is, or why a case is not measured.
    pub fn find(self) -> Result<PathBuf, String> {
        self.path().ok_or_else(|| format!("no {}: {}", self.name(), self.remedy()))
    }

    /// What it says of its version.
    pub fn version(self) -> Option<String> {
        let output = Command::new(self.path()?).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // clamd and clamdscan say which database they have, after a slash.
        Some(text.split('/').next().unwrap_or_default().to_owned())
    }
}
