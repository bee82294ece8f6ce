//! Statements of many rows: a text for each of a few sizes, because a connection
//! prepares each text once, and a statement costs more than its rows.

/// How the parameters of a statement are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    /// `($1, $2), ($3, $4)` for two rows of two columns: what both stores read.
    Numbered,
    /// `(?, ?), (?, ?)`: for SQLite alone, whose driver looks each numbered parameter
    /// up among all of them.
    Plain,
}

/// `before`, the rows, `after`; for each number of rows.
pub(super) fn texts<const N: usize>(
    sizes: [usize; N],
    parameters: Parameters,
    (before, columns, after): (&str, usize, &str),
) -> [String; N] {
    sizes.map(|rows| {
        let mut text = before.to_owned();
        for number in 0..rows * columns {
            text.push_str(match (number % columns, number) {
                (0, 0) => "(",
                (0, _) => "), (",
                _ => ", ",
            });
            match parameters {
                Parameters::Numbered => text.push_str(&format!("${}", number + 1)),
                Parameters::Plain => text.push('?'),
            }
        }
        text.push(')');
        text.push_str(after);
        text
    })
}

/// What is read of rows that are sent along: those that only fill a statement
/// are nulls, which equal nothing.
pub(super) mod filled {
    use super::Parameters;

    /// Rows a statement, the smallest first.
    pub(in crate::store) const SIZES: [usize; 7] = [1, 4, 16, 32, 64, 128, 256];

    /// As [`super::texts`], for these sizes.
    pub(in crate::store) fn texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        super::texts(SIZES, Parameters::Numbered, (before, columns, after))
    }

    /// As [`texts`], for SQLite alone.
    pub(in crate::store) fn plain_texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        super::texts(SIZES, Parameters::Plain, (before, columns, after))
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
