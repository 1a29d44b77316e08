//! `sqlx::migrate!` reads the migrations.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
