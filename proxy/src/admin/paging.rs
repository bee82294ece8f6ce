//! Owns the parameters of a listing: `page` and `size`, with LiteLLM's bounds and
//! errors, and the part of a name that is searched for.

use super::values::NAME_CHARACTERS_MAX;
use crate::{error::ApiError, store::Page};

/// LiteLLM: at most this many a page.
const SIZE_MAX: i64 = 100;

/// `size` is how many a page has where none is asked for.
pub(super) fn page(
    number: Option<&str>,
    size: Option<&str>,
    size_default: i64,
) -> Result<Page, ApiError> {
    Ok(Page {
        number: parse("page", number, 1, i64::from(u32::MAX))?,
        size: parse("size", size, size_default, SIZE_MAX)?,
    })
}

pub(super) fn pages(total: i64, page: Page) -> i64 {
    let size = i64::from(page.size);
    (total + size - 1) / size
}

/// The part of a name that the parameter `name` asks for.
pub(super) fn part<'a>(name: &str, text: Option<&'a str>) -> Result<Option<&'a str>, ApiError> {
    match text {
        Some(text) if text.chars().count() > NAME_CHARACTERS_MAX => Err(ApiError::bad_request(
            name,
            format!("{name} must be at most {NAME_CHARACTERS_MAX} characters, as names are"),
        )),
        _ => Ok(text),
    }
}

fn parse(name: &str, text: Option<&str>, default: i64, most: i64) -> Result<u32, ApiError> {
    let value = text.map_or(Ok(default), str::parse).map_err(|_| {
        ApiError::validation(
            "int_parsing",
            ["query", name],
            "Input should be a valid integer",
        )
    })?;
    if value < 1 {
        let message = "Input should be greater than or equal to 1";
        return Err(ApiError::validation(
            "greater_than_equal",
            ["query", name],
            message,
        ));
    }
    match u32::try_from(value) {
        Ok(number) if value <= most => Ok(number),
        _ => {
            let message = format!("Input should be less than or equal to {most}");
            Err(ApiError::validation(
                "less_than_equal",
                ["query", name],
                &message,
            ))
        }
    }
}
