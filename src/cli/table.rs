//! A table for people.

use std::io;

use super::out;

/// Prints rows under a header; the last column is as wide as it likes, and may go on over further lines.
///
/// # Errors
/// When standard output is closed.
pub(super) fn print<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let header = header.map(str::to_owned);
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().chain([&header]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        })
        .collect();
    for row in [&header].into_iter().chain(rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column + 1 == N {
                cell.clone()
            } else {
                format!("{cell:width$}  ")
            }
        });
        out::print(cells.collect::<String>())?;
    }
    Ok(())
}
