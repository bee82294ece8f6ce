//! Statements of many rows: a text for each of a few sizes, because a connection
//! prepares each text once, and a statement costs more than its rows.

/// What is written of rows that are all there, on SQLite.
pub(super) mod full {
    /// Rows a statement, the largest first.
    pub(in crate::store) const SIZES: [usize; 3] = [64, 8, 1];

    /// `before`, the rows, `after`; for each of these sizes. The parameters have no
    /// numbers, because the driver looks each number up among all of them.
    pub(in crate::store) fn texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        SIZES.map(|rows| super::text(rows, columns, (before, after), |_| "?".to_owned()))
    }

    /// All of them, each time as many as the largest statement takes that they fill,
    /// with the place of its size.
    pub(in crate::store) fn chunks<T>(all: &[T]) -> impl Iterator<Item = (usize, &[T])> {
        let mut left = all;
        std::iter::from_fn(move || {
            let size = SIZES.iter().position(|size| *size <= left.len())?;
            let (now, later) = left.split_at(SIZES[size]);
            left = later;
            Some((size, now))
        })
    }
}

/// What is read of rows that are sent along: those that only fill a statement
/// are nulls, which equal nothing.
pub(super) mod filled {
    /// Rows a statement, the smallest first.
    pub(in crate::store) const SIZES: [usize; 7] = [1, 4, 16, 32, 64, 128, 256];

    /// `before`, the rows, `after`; for each of these sizes, as both stores read it.
    pub(in crate::store) fn texts(
        before: &str,
        columns: usize,
        after: &str,
    ) -> [String; SIZES.len()] {
        SIZES.map(|rows| {
            super::text(rows, columns, (before, after), |number| {
                format!("${number}")
            })
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

/// `(a, b), (a, b)` for two rows of two columns, each parameter by its number from one.
fn text(
    rows: usize,
    columns: usize,
    (before, after): (&str, &str),
    parameter: impl Fn(usize) -> String,
) -> String {
    let row = |row: usize| {
        let numbers = 1 + row * columns..=(row + 1) * columns;
        let parameters: Vec<String> = numbers.map(&parameter).collect();
        format!("({})", parameters.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!("{before}{}{after}", rows.join(", "))
}
