//! Turns of the event loop: what its calls send in one turn goes out together.
//! Called where a call is about to be sent, and where an answer is about to be
//! written to its connection; but not for a stream, whose first event is waited for.

/// Lets everything go first that can go on now. Who sleeps on the same machine is
/// woken by the first of the writes that follow each other, and that costs more
/// than a write, most of all on a virtual machine; written in between of the work,
/// each would wake somebody who has gone to sleep again. A call that is alone waits
/// for nothing.
pub(crate) async fn end() {
    tokio::task::yield_now().await;
}
