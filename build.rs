//! What the build goes by besides the sources.
#![expect(clippy::disallowed_methods, reason = "a build is set by its environment")]

fn main() {
    // `sqlx::migrate!` reads them.
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=intents/migrations");
    // `query!` goes by the committed .sqlx, also where this is a dependency and DATABASE_URL names another's database.
    // Only who writes it asks a database.
    println!("cargo:rerun-if-env-changed=REJOINDER_PREPARE");
    if std::env::var_os("REJOINDER_PREPARE").is_none() {
        println!("cargo:rustc-env=SQLX_OFFLINE=true");
        println!(
            "cargo:rustc-env=SQLX_OFFLINE_DIR={}/.sqlx",
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()
        );
    }
}
