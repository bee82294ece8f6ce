//! Cuts a stream of server-sent events into frames without changing a byte.
//!
//! It owns the framing: line ends, blank lines, `data` fields, and the bound on
//! what one event may occupy in memory. It never interprets a payload (the
//! meter does) and has no I/O. The bytes of all frames, in order, are the bytes
//! that were pushed.

use bytes::{Bytes, BytesMut};

/// What one event may hold in memory while it is incomplete. A longer one is
/// passed on in parts and its payload is not interpreted.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1024;

/// A run of the stream's bytes that ends where an event ends, or a part of an
/// event too long to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) raw: Bytes,
    pub(crate) payload: Payload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The event's `data` lines, joined by line feeds.
    Data(Vec<u8>),
    /// A comment, a blank line, an event without data.
    Nothing,
    /// Part of an event longer than [`EVENT_BYTES_MAX`].
    Oversize,
}

/// The state between two chunks of the network.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// Bytes not handed out yet: comments and blank lines, then the event
    /// under way.
    raw: BytesMut,
    /// How many bytes of `raw` stand before the event under way.
    preamble: usize,
    /// The line under way, without its end; left empty in an oversize event.
    line: Vec<u8>,
    line_has_bytes: bool,
    /// `data` lines of the event under way.
    data: Option<Vec<u8>>,
    oversize: bool,
    /// The last byte was a carriage return: a line feed now belongs to it.
    after_cr: bool,
    /// Only the first line of a stream may begin with a byte order mark.
    past_first_line: bool,
}

impl Splitter {
    /// Takes a chunk, however it was cut, and appends the frames it completes.
    pub(crate) fn push(&mut self, chunk: &[u8], frames: &mut Vec<Frame>) {
        let mut rest = chunk;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(at);
            let (end, tail) = tail.split_at(1);
            rest = tail;
            self.append(line, frames);
            let ends_a_pair = end == b"\n" && self.after_cr;
            self.after_cr = end == b"\r";
            if ends_a_pair {
                self.append_line_feed();
            } else {
                self.end_line(end, frames);
            }
        }
        self.append(rest, frames);
        self.hand_out_preamble(frames);
    }

    /// What is left when the stream ends: an event without its blank line is
    /// still read, because some providers omit it at the very end.
    pub(crate) fn finish(&mut self, frames: &mut Vec<Frame>) {
        if self.line_has_bytes {
            self.end_line(b"", frames);
        }
        self.end_event(frames);
        self.hand_out_preamble(frames);
    }

    /// True while part of an event too long to hold has been handed out: the
    /// reader is in the middle of it.
    pub(crate) fn is_inside_oversize(&self) -> bool {
        self.oversize
    }

    fn append(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        if bytes.is_empty() {
            return;
        }
        self.after_cr = false;
        self.line_has_bytes = true;
        self.raw.extend_from_slice(bytes);
        if !self.oversize {
            self.line.extend_from_slice(bytes);
        }
        if self.raw.len() - self.preamble > EVENT_BYTES_MAX {
            self.hand_out_preamble(frames);
            self.oversize = true;
            self.data = None;
            self.line = Vec::new();
            self.hand_out(Payload::Oversize, frames);
        }
    }

    /// The second half of a line end whose first half was already acted on.
    fn append_line_feed(&mut self) {
        let is_between_events = self.preamble == self.raw.len();
        self.raw.extend_from_slice(b"\n");
        if is_between_events {
            self.preamble = self.raw.len();
        }
    }

    fn end_line(&mut self, end: &[u8], frames: &mut Vec<Frame>) {
        self.raw.extend_from_slice(end);
        if self.line_has_bytes {
            self.take_field();
            self.line.clear();
            self.line_has_bytes = false;
        } else {
            self.end_event(frames);
        }
        self.past_first_line = true;
    }

    fn take_field(&mut self) {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        let mut line = self.line.as_slice();
        if !self.past_first_line {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let Some(value) = line.strip_prefix(b"data") else {
            return;
        };
        // SSE: a field without a colon has an empty value; another name that
        // merely begins with "data" is not this field.
        let value = match value.split_first() {
            None => value,
            Some((b':', value)) => value.strip_prefix(b" ").unwrap_or(value),
            Some(_) => return,
        };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
    }

    fn end_event(&mut self, frames: &mut Vec<Frame>) {
        if self.oversize {
            self.oversize = false;
            self.hand_out(Payload::Oversize, frames);
            return;
        }
        let Some(data) = self.data.take() else {
            self.preamble = self.raw.len();
            return;
        };
        self.hand_out_preamble(frames);
        self.hand_out(Payload::Data(data), frames);
    }

    /// Comments keep connections alive, so they never wait for an event.
    fn hand_out_preamble(&mut self, frames: &mut Vec<Frame>) {
        if self.preamble == 0 {
            return;
        }
        let raw = self.raw.split_to(self.preamble).freeze();
        self.preamble = 0;
        let payload = Payload::Nothing;
        frames.push(Frame { raw, payload });
    }

    fn hand_out(&mut self, payload: Payload, frames: &mut Vec<Frame>) {
        let raw = self.raw.split().freeze();
        if !raw.is_empty() {
            frames.push(Frame { raw, payload });
        }
    }
}

#[cfg(test)]
mod tests;
