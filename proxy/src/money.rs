//! Money as integers: nano-dollars for balances, pico-dollars for the price of
//! one unit. Decimal text is read digit by digit, because a binary fraction
//! cannot hold a cent and no rounding may ever favour a spender: what does not
//! fit is rounded up.
//!
//! It owns parsing and checked sums and knows nothing of accounts or prices.
//! Every module that touches an amount goes through these types.

use std::fmt;

use serde::{Serialize, Serializer};

/// Nine decimals of a dollar.
const NANO_SCALE: i64 = 9;
/// Twelve decimals of a dollar.
const PICO_SCALE: i64 = 12;
/// The largest balance, nine billion dollars: three of them still add up to
/// less than a 64-bit float's exact comparison range in the store.
const NANO_MAX: u128 = 9_000_000_000_000_000_000;
/// No number that means money needs more text; longer input is hostile.
const TEXT_BYTES_MAX: usize = 400;

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MoneyError {
    #[error("not a decimal number")]
    Malformed,
    #[error("must not be negative")]
    Negative,
    #[error("too large")]
    TooLarge,
}

/// An amount in nano-dollars (1e-9 USD), zero or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub(crate) struct NanoUsd(i64);

impl NanoUsd {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const MAX: Self = Self(9_000_000_000_000_000_000);

    /// Reads dollars from decimal text, exponent form included. Digits beyond
    /// the ninth decimal round up.
    pub(crate) fn from_decimal(text: &str) -> Result<Self, MoneyError> {
        scaled(text, NANO_SCALE, NANO_MAX).and_then(|amount| {
            i64::try_from(amount)
                .map(Self)
                .map_err(|_| MoneyError::TooLarge)
        })
    }

    /// An amount as the store keeps it; a negative one can only come from a
    /// damaged file and counts as nothing.
    pub(crate) fn from_nanos(nanos: i64) -> Self {
        Self(nanos.clamp(0, Self::MAX.0))
    }

    /// Rounds pico-dollars up, saturating at [`NanoUsd::MAX`].
    pub(crate) fn from_picos(picos: u128) -> Self {
        let nanos = picos.div_ceil(1_000).min(NANO_MAX);
        Self(i64::try_from(nanos).unwrap_or(Self::MAX.0))
    }

    pub(crate) const fn nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .filter(|sum| *sum <= Self::MAX.0)
            .map(Self)
    }

    /// None where the result would be below zero.
    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.0
            .checked_sub(other.0)
            .filter(|rest| *rest >= 0)
            .map(Self)
    }

    /// A sum that stops at [`NanoUsd::MAX`]: for totals that only refuse the
    /// more the larger they are.
    pub(crate) fn saturating_add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or(Self::MAX)
    }

    /// A difference that stops at zero.
    pub(crate) fn saturating_sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or(Self::ZERO)
    }

    /// Dollars for people and JSON. Never goes back into a balance.
    pub(crate) fn to_f64_display(self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "for display: exact to the nano-dollar below four million dollars, nearest above"
        )]
        let nanos = self.0 as f64;
        nanos / 1e9
    }
}

/// Dollars with the decimals that are there, as response headers show them.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut fraction) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let mut digits = [b'0'; 9];
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(fraction % 10).unwrap_or_default();
            fraction /= 10;
        }
        let shown = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
        let text = str::from_utf8(&digits[..=shown]).map_err(|_| fmt::Error)?;
        write!(f, "{whole}.{text}")
    }
}

impl Serialize for NanoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_f64_display())
    }
}

/// The price of one unit in pico-dollars (1e-12 USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct PicoUsd(u64);

impl PicoUsd {
    /// Reads dollars a unit from decimal text. Digits beyond the twelfth
    /// decimal round up.
    pub(crate) fn from_decimal(text: &str) -> Result<Self, MoneyError> {
        scaled(text, PICO_SCALE, u128::from(u64::MAX))
            .and_then(|price| u64::try_from(price).map_err(|_| MoneyError::TooLarge))
            .map(Self)
    }

    pub(crate) fn picos(self) -> u64 {
        self.0
    }

    /// What `units` cost, in pico-dollars: 64 bits times 64 bits always fit.
    pub(crate) fn times(self, units: u64) -> u128 {
        u128::from(self.0) * u128::from(units)
    }
}

/// `text` times ten to the `scale`, rounded up to an integer of at most `max`.
fn scaled(text: &str, scale: i64, max: u128) -> Result<u128, MoneyError> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return Err(MoneyError::Malformed);
    }
    let (unsigned, negative) = text
        .strip_prefix('-')
        .map_or((text, false), |rest| (rest, true));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && [whole, fraction]
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_number {
        return Err(MoneyError::Malformed);
    }
    let all_digits = format!("{whole}{fraction}");
    let digits = all_digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    if negative {
        return Err(MoneyError::Negative);
    }
    let fraction_digits = i64::try_from(fraction.len()).map_err(|_| MoneyError::Malformed)?;
    shift(digits, exponent - fraction_digits + scale, max)
}

/// Bounds the exponent rather than failing: 1e-999999 is a valid way to write
/// next to nothing.
fn parse_exponent(text: &str) -> Result<i64, MoneyError> {
    const FAR: i64 = 100_000;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MoneyError::Malformed);
    }
    let magnitude = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

/// Multiplies a run of digits without leading zeros by ten to the `places`.
fn shift(digits: &str, places: i64, max: u128) -> Result<u128, MoneyError> {
    /// 10^38 is the last power of ten in 128 bits.
    const PLACES_MAX: i64 = 38;
    let length = i64::try_from(digits.len()).map_err(|_| MoneyError::TooLarge)?;
    if length + places > PLACES_MAX {
        return Err(MoneyError::TooLarge);
    }
    if length + places <= 0 {
        return Ok(1);
    }
    let kept = usize::try_from(length.min(length + places)).map_err(|_| MoneyError::TooLarge)?;
    let (head, tail) = digits.split_at(kept);
    let mut value = head.parse::<u128>().map_err(|_| MoneyError::TooLarge)?;
    if places > 0 {
        let zeros = u32::try_from(places).map_err(|_| MoneyError::TooLarge)?;
        value = 10_u128
            .checked_pow(zeros)
            .and_then(|power| value.checked_mul(power))
            .ok_or(MoneyError::TooLarge)?;
    }
    if tail.bytes().any(|byte| byte != b'0') {
        value += 1;
    }
    if value > max {
        return Err(MoneyError::TooLarge);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_becomes_nanos() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("0.000", Ok(0)),
            ("1", Ok(1_000_000_000)),
            ("1.5", Ok(1_500_000_000)),
            (".5", Ok(500_000_000)),
            ("5.", Ok(5_000_000_000)),
            ("1e-9", Ok(1)),
            ("1E+2", Ok(100_000_000_000)),
            ("0.0000000001", Ok(1)),
            ("1e-999999999999999999999", Ok(1)),
            ("0.1234567890001", Ok(123_456_790)),
            ("0.1234567890000", Ok(123_456_789)),
            ("0.000000001500e0", Ok(2)),
            ("9000000000", Ok(9_000_000_000_000_000_000)),
            ("9000000000.000000001", Err(MoneyError::TooLarge)),
            ("1e308", Err(MoneyError::TooLarge)),
            ("1e99999999999999999999", Err(MoneyError::TooLarge)),
            ("-1", Err(MoneyError::Negative)),
            ("-1e-30", Err(MoneyError::Negative)),
            ("NaN", Err(MoneyError::Malformed)),
            ("inf", Err(MoneyError::Malformed)),
            ("-Infinity", Err(MoneyError::Malformed)),
            ("", Err(MoneyError::Malformed)),
            (".", Err(MoneyError::Malformed)),
            ("1e", Err(MoneyError::Malformed)),
            ("1.2.3", Err(MoneyError::Malformed)),
            ("0x10", Err(MoneyError::Malformed)),
            ("1_000", Err(MoneyError::Malformed)),
            ("+1", Err(MoneyError::Malformed)),
        ] {
            let parsed = NanoUsd::from_decimal(text).map(NanoUsd::nanos);
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn prices_keep_twelve_decimals_and_round_up() {
        for (text, picos) in [
            ("2.5e-06", 2_500_000),
            ("0.00000015", 150_000),
            ("1e-13", 1),
            ("7.5e-8", 75_000),
        ] {
            assert_eq!(PicoUsd::from_decimal(text).map(PicoUsd::picos), Ok(picos));
        }
    }

    #[test]
    fn sums_never_leave_the_range() {
        let one = NanoUsd::from_nanos(1);
        assert_eq!(NanoUsd::MAX.checked_add(one), None);
        assert_eq!(NanoUsd::MAX.saturating_add(NanoUsd::MAX), NanoUsd::MAX);
        assert_eq!(NanoUsd::ZERO.checked_sub(one), None);
        assert_eq!(NanoUsd::ZERO.saturating_sub(one), NanoUsd::ZERO);
        assert_eq!(NanoUsd::from_nanos(-5), NanoUsd::ZERO);
        assert_eq!(NanoUsd::from_picos(u128::MAX), NanoUsd::MAX);
        assert_eq!(NanoUsd::from_picos(1), one);
        assert_eq!(NanoUsd::from_picos(1_000), one);
        assert_eq!(NanoUsd::from_picos(1_001), NanoUsd::from_nanos(2));
    }

    #[test]
    fn display_and_json_show_the_same_digits_that_were_read() {
        for text in ["0.1", "0.000000001", "12.345678901", "3999999.123456789"] {
            let amount = NanoUsd::from_decimal(text).expect(text);
            assert_eq!(amount.to_string(), text);
            let json = serde_json::to_string(&amount).expect("serialize");
            assert_eq!(NanoUsd::from_decimal(&json), Ok(amount), "{json}");
        }
        assert_eq!(NanoUsd::from_nanos(2_000_000_000).to_string(), "2.0");
    }
}
