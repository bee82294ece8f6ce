//! Streamed answers: framing, metering, and the pump between provider and
//! caller.
//!
//! Nothing here knows accounts or prices: the pump says how a stream ended and
//! what the meter saw, and `api` settles by that.

pub(crate) mod meter;
pub(crate) mod pump;
mod seen;
pub(crate) mod sse;
