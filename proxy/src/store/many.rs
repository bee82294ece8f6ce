//! Statements of many rows: a text for each of a few sizes, because a connection
//! prepares each text once, and a statement costs more than its rows.

/// ` ($1, $2), ($3, $4)` for two rows of two columns.
pub(super) fn push_rows(text: &mut String, rows: usize, columns: usize) {
    for number in 1..=rows * columns {
        text.push_str(match ((number - 1) % columns, number) {
            (0, 1) => "($",
            (0, _) => "), ($",
            _ => ", $",
        });
        text.push_str(&number.to_string());
    }
    text.push(')');
}

/// ` (?, ?), (?, ?)`: for SQLite alone, whose driver looks each numbered parameter up
/// among all of them.
pub(super) fn push_plain_rows(text: &mut String, rows: usize, columns: usize) {
    for number in 0..rows * columns {
        text.push_str(match (number % columns, number) {
            (0, 0) => "(?",
            (0, _) => "), (?",
            _ => ", ?",
        });
    }
    text.push(')');
}

/// What is read of rows that are sent along: those that only fill a statement
/// are nulls, which equal nothing.
pub(super) mod filled {
    use super::{push_plain_rows, push_rows};

    /// Rows a statement, the smallest first.
    pub(in crate::store) const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

    /// `before`, the rows, `after`; for each size.
    pub(in crate::store) fn texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        SIZES.map(|rows| {
            let mut text = before.to_owned();
            push_rows(&mut text, rows, columns);
            text.push_str(after);
            text
        })
    }

    /// As [`texts`], for SQLite alone.
    pub(in crate::store) fn plain_texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        SIZES.map(|rows| {
            let mut text = before.to_owned();
            push_plain_rows(&mut text, rows, columns);
            text.push_str(after);
            text
        })
    }

    /// All of them in as few statements as there can be: the place of the size,
    /// and the rows, of which the last are None.
    pub(in crate::store) fn chunks<T>(
        all: &[T],
    ) -> impl Iterator<Item = (usize, impl Iterator<Item = Option<&T>>)> {
        let largest = SIZES.len() - 1;
        all.chunks(SIZES[largest]).map(move |rows| {
            let size = SIZES.iter().position(|size| *size >= rows.len());
            let size = size.unwrap_or(largest);
            let empty = SIZES[size] - rows.len();
            let nothing = std::iter::repeat_n(None, empty);
            (size, rows.iter().map(Some).chain(nothing))
        })
    }
}
