//! Goal: the caller sees the provider's bytes, the meter sees them all, also
//! when the caller leaves. Method: prepared answers cut at every place, read
//! through the channel as the response body would.

use super::*;

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\r\n\r\n",
    ": ping\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\" w\u{f6}rld\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
);

async fn pumped(chunks: &[&[u8]], hides_usage: bool) -> (Vec<u8>, Meter, Ending) {
    let answer = Answer::prepared(chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)));
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    let pump = Pump::new(answer, sender, hides_usage, Cut::default()).run();
    let reading = async {
        let mut seen = Vec::new();
        while let Some(Ok(chunk)) = receiver.recv().await {
            assert!(chunk.len() <= CHUNK_BYTES_MAX);
            seen.extend_from_slice(&chunk);
        }
        seen
    };
    let ((meter, ending), seen) = tokio::join!(pump, reading);
    (seen, meter, ending)
}

fn counts(meter: &Meter) -> Option<(u64, u64)> {
    let usage = meter.usage()?;
    Some((usage.prompt_tokens, usage.completion_tokens))
}

#[tokio::test]
async fn e1_bytes_reach_the_caller_unchanged_at_every_cut() {
    for cut in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(cut);
        let (seen, meter, ending) = pumped(&[head, tail], false).await;
        assert_eq!(String::from_utf8_lossy(&seen), STREAM, "cut at {cut}");
        assert_eq!(counts(&meter), Some((3, 2)), "cut at {cut}");
        assert_eq!(ending, Ending::Ended);
    }
}

#[tokio::test]
async fn the_usage_that_only_the_gateway_asked_for_is_not_shown() {
    let hidden =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";
    for cut in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(cut);
        let (seen, meter, _) = pumped(&[head, tail], true).await;
        assert_eq!(String::from_utf8_lossy(&seen), STREAM.replace(hidden, ""));
        assert_eq!(counts(&meter), Some((3, 2)));
    }
}

#[tokio::test]
async fn e2_a_caller_that_leaves_does_not_take_the_usage_along() {
    let events = STREAM.split_inclusive("\n\n").collect::<Vec<_>>();
    for leaves_after in 0..=events.len() {
        let chunks = events
            .iter()
            .map(|event| Bytes::from_static(event.as_bytes()));
        let (sender, mut receiver) = mpsc::channel(1);
        let pump = Pump::new(Answer::prepared(chunks), sender, false, Cut::default()).run();
        let reading = async {
            for _ in 0..leaves_after {
                receiver.recv().await;
            }
            drop(receiver);
        };
        let ((meter, ending), ()) = tokio::join!(pump, reading);
        assert_eq!(counts(&meter), Some((3, 2)), "left after {leaves_after}");
        assert_eq!(ending, Ending::Ended);
    }
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    let answer = Answer::prepared(std::iter::repeat_n(chunk, 50));
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let (_, ending) = Pump::new(answer, sender, false, Cut::default()).run().await;
    assert_eq!(ending, Ending::Cut);
}

#[tokio::test]
async fn e3_a_stream_that_ends_early_ends_with_an_error_event() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    let (seen, meter, ending) = pumped(&[begun.as_bytes()], true).await;
    let seen = String::from_utf8(seen).expect("text");
    let error = seen.strip_prefix(begun).expect("what came is passed on");
    assert!(error.starts_with("data: {\"error\":{"), "{error}");
    assert!(error.ends_with("}\n\n"), "{error}");
    assert_eq!((meter.seen_tokens(), ending), (5, Ending::Ended));
}

#[tokio::test]
async fn e5_a_reader_that_stands_still_stops_the_provider() {
    let chunk = Bytes::from(vec![b'x'; CHUNK_BYTES_MAX]);
    let answer = Answer::prepared(std::iter::repeat_n(chunk, 1_000));
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    let mut pump = Box::pin(Pump::new(answer, sender, false, Cut::default()).run());
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = &mut pump => panic!("ended with nobody reading"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(receiver.len(), CHUNKS_MAX);
    receiver.recv().await;
}

#[tokio::test(start_paused = true)]
async fn c4_a_stream_of_a_key_that_ended_is_cut_and_says_so() {
    // Read slowly, not read at all, and left by its caller.
    for (reads, is_left, told) in [
        (true, false, true),
        (false, false, false),
        (false, true, false),
    ] {
        let chunk = Bytes::from_static(STREAM.split_inclusive("\n\n").next().unwrap().as_bytes());
        let answer = Answer::prepared(std::iter::repeat_n(chunk, 1_000));
        let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
        let cut = Cut::default();
        let mut pump = Box::pin(Pump::new(answer, sender, false, cut.clone()).run());
        // The channel fills, and the pump waits for its reader.
        let filling = tokio::time::timeout(Duration::from_secs(5), &mut pump).await;
        assert!(filling.is_err());
        if is_left {
            receiver.close();
        }
        let began = Instant::now();
        cut.make();
        let reading = async {
            let mut seen = Vec::new();
            while reads && let Some(Ok(chunk)) = receiver.recv().await {
                seen.extend_from_slice(&chunk);
            }
            String::from_utf8(seen).unwrap()
        };
        let ((_, ending), seen) = tokio::join!(pump, reading);
        assert_eq!(ending, Ending::Cut);
        assert!(began.elapsed() <= TELL_TIMEOUT, "{reads} {is_left}");
        assert_eq!(seen.contains("\"auth_error\""), told, "{seen}");
    }
}
