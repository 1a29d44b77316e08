//! A standby that follows a site's database, and takes its place.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, PgPool};

use crate::site::{Site, eventually};

/// A server that has been made of another one's data; ended when dropped.
pub(crate) struct Standby {
    pub(crate) pool: PgPool,
    home: PathBuf,
    server: Child,
}

impl Standby {
    /// Copies the site's database, and follows it.
    pub(crate) async fn of(site: &Site) -> Self {
        let home = site.data_dir().join("standby");
        let owner = fs::metadata(site.data_dir().join("postgres/cluster")).unwrap();
        DirBuilder::new().mode(0o700).create(&home).unwrap();
        chown(&home, Some(owner.uid()), Some(owner.gid())).unwrap();
        let programs = fs::read_link(format!("/proc/{}/exe", site.postmaster())).unwrap();
        let programs = programs.parent().unwrap().to_owned();
        let run = |program: &str| {
            let mut command = Command::new(programs.join(program));
            // As the owner of the database, as whom this process may be already.
            if nix::unistd::geteuid().is_root() {
                command.uid(owner.uid()).gid(owner.gid());
            }
            command.current_dir("/").stdin(Stdio::null());
            command
        };
        let (sockets, cluster) = (site.sockets(), home.join("cluster"));
        let copied = run("pg_basebackup")
            .args(["-U", "postgres", "-X", "stream", "-R", "-c", "fast", "-N", "-h"])
            .arg(&sockets)
            .arg("-D")
            .arg(&cluster)
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let log = File::create(home.join("log")).unwrap();
        let server = run("postgres")
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(&home)
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&home)
            .port(5432)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable);
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let standby = Self { pool, home, server };
        let receiving = "select count(*) from pg_stat_wal_receiver where status = 'streaming'";
        eventually("the standby follows", async || {
            standby.number(receiving).await == Some(1)
        })
        .await;
        standby
    }

    /// Where its socket is.
    pub(crate) fn sockets(&self) -> &Path {
        &self.home
    }

    /// Waits until it has all that the site's database has.
    pub(crate) async fn caught_up(&self, site: &Site) {
        let at: String = sqlx::query_scalar("select pg_current_wal_lsn()::text")
            .fetch_one(&site.pool)
            .await
            .unwrap();
        let has = format!("select (pg_last_wal_replay_lsn() >= '{at}')::int");
        eventually("the standby has caught up", async || self.number(&has).await == Some(1)).await;
    }

    /// Has it fall behind from now on.
    pub(crate) async fn fall_behind(&self) {
        for statement in ["alter system set primary_conninfo = ''", "select pg_reload_conf()"] {
            sqlx::query(statement).execute(&self.pool).await.unwrap();
        }
        let receiving = "select count(*) from pg_stat_wal_receiver";
        eventually("it receives nothing", async || self.number(receiving).await == Some(0)).await;
    }

    /// Has it take the place of the site's database, which ends at once.
    pub(crate) async fn take_over(&self, site: &Site) {
        kill(Pid::from_raw(site.postmaster()), Signal::SIGQUIT).unwrap();
        sqlx::query("select pg_promote(true, 60)")
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn number(&self, query: &str) -> Option<i64> {
        let query = AssertSqlSafe(format!("select ({query})::bigint"));
        sqlx::query_scalar(query).fetch_one(&self.pool).await.ok().flatten()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.server.id()).unwrap());
        kill(pid, Signal::SIGQUIT).ok();
        self.server.wait().ok();
    }
}
