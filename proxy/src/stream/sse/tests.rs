//! Goal: however the network cuts a stream, the same bytes go on and the same
//! payloads are read. Method: a table of transcripts, each cut at every place
//! and also byte by byte; then garbage of every kind for the memory bound.

use super::*;

fn read(chunks: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
    let mut splitter = Splitter::default();
    let mut frames = Vec::new();
    for chunk in chunks {
        splitter.push(chunk, &mut frames);
        assert!(splitter.raw.len() <= EVENT_BYTES_MAX + chunk.len());
    }
    splitter.finish(&mut frames);
    let raw = frames.iter().flat_map(|frame| frame.raw.to_vec()).collect();
    let payloads = frames
        .into_iter()
        .filter_map(|frame| match frame.payload {
            Payload::Data(data) => Some(String::from_utf8_lossy(&data).into_owned()),
            Payload::Nothing | Payload::Oversize => None,
        })
        .collect();
    (raw, payloads)
}

#[test]
fn every_cut_gives_the_same_bytes_and_payloads() {
    let table: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"\n", &[]),
        (b"data: a\n\ndata: b\n\n", &["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
        (b"data: a\r\rdata: b\r\r", &["a", "b"]),
        (b"data: a\r\n\ndata: b\n\r\n", &["a", "b"]),
        (b"\xEF\xBB\xBFdata: a\n\n", &["a"]),
        (b"data: a\n\n\xEF\xBB\xBFdata: b\n\n", &["a"]),
        (b"data: a\ndata: b\n\n", &["a\nb"]),
        (b"data:a\n\ndata:  b\n\n", &["a", " b"]),
        (b"data\n\n", &[""]),
        (b"database: no\n\ndata: yes\n\n", &["yes"]),
        (b": ping\n\n: ping\n\ndata: a\n\n", &["a"]),
        (b"event: x\nid: 1\ndata: a\nretry: 5\n\n", &["a"]),
        (b"data: a\n\ndata: [DONE]", &["a", "[DONE]"]),
        (b"data: a\n\ndata: [DONE]\n", &["a", "[DONE]"]),
        (b"data: \xE2\x82\xAC\n\n", &["\u{20ac}"]),
        (b"data: \xE2\x82\n\n", &["\u{fffd}"]),
        (b"data: \0\0\n\n\n\n\ndata: a\n\n", &["\0\0", "a"]),
        (b"{\"error\": \"not an event stream\"}", &[]),
    ];
    for (stream, expected) in table {
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let (raw, payloads) = read(&[head, tail]);
            assert_eq!(raw, *stream, "bytes, cut at {cut}");
            assert_eq!(payloads, *expected, "payloads, cut at {cut}: {stream:?}");
        }
        let bytes = stream.chunks(1).collect::<Vec<_>>();
        let (raw, payloads) = read(&bytes);
        assert_eq!(raw, *stream);
        assert_eq!(payloads, *expected, "byte by byte: {stream:?}");
    }
}

#[test]
fn an_event_goes_on_as_soon_as_its_blank_line_is_there() {
    let mut splitter = Splitter::default();
    let mut frames = Vec::new();
    splitter.push(b"data: a\n", &mut frames);
    assert!(frames.is_empty());
    splitter.push(b"\ndata: b", &mut frames);
    assert_eq!(frames.len(), 1);
    assert_eq!(&frames[0].raw[..], b"data: a\n\n");
    splitter.push(b"\r\n\r", &mut frames);
    assert_eq!(
        frames.len(),
        2,
        "a bare carriage return ends a line at once"
    );
}

#[test]
fn a_comment_before_an_event_is_a_frame_of_its_own() {
    let mut splitter = Splitter::default();
    let mut frames = Vec::new();
    splitter.push(b": ping\n\ndata: a\n\n", &mut frames);
    let payloads = frames.iter().map(|frame| &frame.payload);
    assert!(payloads.eq(&[Payload::Nothing, Payload::Data(b"a".to_vec())]));
}

#[test]
fn a_long_event_passes_in_parts_and_the_next_is_read_again() {
    let mut stream = b"data: ".to_vec();
    stream.extend(std::iter::repeat_n(b'x', 10 * 1024 * 1024));
    stream.extend(b"\ndata: still the same event\n\ndata: next\n\n");
    for size in [1_000, 16 * 1024, stream.len()] {
        let chunks = stream.chunks(size).collect::<Vec<_>>();
        let (raw, payloads) = read(&chunks);
        assert!(raw == stream, "bytes differ in chunks of {size}");
        assert_eq!(payloads, ["next"], "chunks of {size}");
    }
}

#[test]
fn any_garbage_passes_unchanged() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..2_000 {
        let mut stream = Vec::new();
        for _ in 0..(seed % 200) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let alphabet = b"data: \r\n\r\n\xEF\xBB\xBF:x";
            stream.push(alphabet[usize::try_from(seed % 15).expect("small")]);
        }
        let whole = read(&[&stream]);
        assert_eq!(whole.0, stream);
        let thirds = stream.chunks(3).collect::<Vec<_>>();
        assert_eq!(read(&thirds), whole, "{stream:?}");
        seed = seed.wrapping_add(0x9e37_79b9);
    }
}
