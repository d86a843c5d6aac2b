//! Rows in aligned columns, printed some at a time, so that a folder of a
//! million entries neither waits nor takes memory.

use std::io::{self, Write};

/// Rows that wait for a common width. 100: what a person looks at together.
const ROWS_TOGETHER: usize = 100;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table that is being printed.
#[derive(Debug, Default)]
pub(super) struct Table {
    aligns: &'static [Align],
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header, unless all its texts are empty.
    pub(super) fn new(columns: &'static [Align], header: &[&str]) -> Self {
        let mut table = Self { aligns: columns, widths: vec![0; columns.len()], rows: Vec::new() };
        if header.iter().any(|text| !text.is_empty()) {
            table.push(header.iter().map(|&text| text.to_owned()).collect());
        }
        table
    }

    fn push(&mut self, row: Vec<String>) {
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
    }

    /// Adds a row, whose cells are safe to print.
    pub(super) fn add(&mut self, row: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        self.push(row);
        if self.rows.len() >= ROWS_TOGETHER { self.flush(out) } else { Ok(()) }
    }

    /// Prints the rows that wait.
    pub(super) fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for row in self.rows.drain(..) {
            let mut line = String::new();
            for ((cell, &width), align) in row.iter().zip(&self.widths).zip(self.aligns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let padding = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell.as_str(), &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left], &["A", "SIZE", "NAME"]);
        table.add(vec!["long".into(), "1".into(), "x".into()], &mut out).unwrap();
        table.add(vec!["s".into(), "1000000".into(), String::new()], &mut out).unwrap();
        assert!(out.is_empty());
        table.flush(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A        SIZE  NAME\nlong        1  x\ns     1000000\n");
    }

    #[test]
    fn many_rows_do_not_wait_for_the_end() {
        let mut out = Vec::new();
        let mut table = Table::new(&[Align::Left], &[""]);
        for _ in 0..ROWS_TOGETHER {
            table.add(vec!["x".into()], &mut out).unwrap();
        }
        assert_eq!(out.len(), 2 * ROWS_TOGETHER);
    }
}
